// agent-trigger as a construct: the resources of a release's template, with its zips as the functions' code.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Annotations, CfnResource, Stack, Token, Validations } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { ITable, Table } from 'aws-cdk-lib/aws-dynamodb';
import { EventBus, IEventBus } from 'aws-cdk-lib/aws-events';
import { CfnFunction, Function, IFunction } from 'aws-cdk-lib/aws-lambda';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';

import { AgentTriggerParameters, OutputName, PARAMETERS } from './parameters';
import { brokenRules, problemOf, Template } from './checks';

export { AgentTriggerParameters, OutputName } from './parameters';

export interface AgentTriggerProps extends AgentTriggerParameters {
  /** The folder that `./package` makes, or that a release's files were downloaded to. */
  readonly release: string;
}

/**
 * The whole stack of agent-trigger, to be put into a stack of its own: its resources have the ids of the template, and its
 * names begin with the stack's name.
 *
 * A parameter that is given here is written into the resources. The others remain parameters of the stack, with the
 * template's defaults.
 */
export class AgentTrigger extends Construct {
  /** The included template, through which every resource can be reached and changed. */
  readonly template: CfnInclude;
  /** The function that runs agents. Schedules and rules have it as their target. */
  readonly runFunction: IFunction;
  /** The table of triggers and executions. */
  readonly table: ITable;
  /** The bus on which ends of executions and changes of health are announced. */
  readonly bus: IEventBus;
  /** Gets a message when a trigger begins to fail, is paused or recovers. */
  readonly healthTopic: ITopic;
  /** Gets every alarm. */
  readonly alarmTopic: ITopic;

  constructor(scope: Construct, id: string, props: AgentTriggerProps) {
    super(scope, id);
    const fileFor = (architecture: string) => join(props.release, `template.packaged-${architecture}.json`);
    const architecture = props.architecture ?? (existsSync(fileFor('arm64')) ? 'arm64' : 'x86_64');
    const templateFile = fileFor(architecture);
    if (!existsSync(join(props.release, 'SHA256SUMS'))) {
      throw new Error(`${props.release} is no folder of a release (property "release")`);
    }
    if (!existsSync(templateFile)) {
      throw new Error(`${templateFile} is missing: the release has no files for the architecture ${architecture}`);
    }
    const template: Template = JSON.parse(readFileSync(templateFile, 'utf8'));
    const given = this.given(template, props);
    const names = Object.keys(template.Resources).filter((name) => template.Resources[name].Type === CfnFunction.CFN_RESOURCE_TYPE_NAME);

    this.template = new CfnInclude(this, 'Template', { templateFile, parameters: given });
    for (const name of names) {
      const asset = new Asset(this, `${name}Code`, { path: join(props.release, template.Resources[name].Properties.Code) });
      const resource = this.template.getResource(name) as CfnFunction;
      resource.code = { s3Bucket: asset.s3BucketName, s3Key: asset.s3ObjectKey };
    }
    // The CDK leaves null out of lists, and in an event's pattern it means something.
    for (const [name, { Properties: properties }] of Object.entries(template.Resources)) {
      for (const [property, value] of Object.entries(properties ?? {})) {
        if (/[[,]null[,\]]/.test(JSON.stringify(value))) {
          (this.template.getResource(name) as CfnResource).addPropertyOverride(property, value);
        }
      }
    }
    // A rule may name parameters alone, and those that are given have become values, perhaps of other resources.
    for (const [rule, { parameters, problems }] of Object.entries(brokenRules(template, given, Token.isUnresolved))) {
      if (!parameters.some((parameter) => parameter in given)) continue;
      problems.forEach((problem) => Annotations.of(this).addError(problem));
      const included = this.template.getRule(rule);
      included.node.scope?.node.tryRemoveChild(included.node.id);
    }

    // The CDK checks each parameter's default wherever the parameter is used, and does not see what conditions rule out. Some
    // of what it finds it reports of the stack.
    const reason = 'A condition leaves the property out while the parameter is empty, or the output while the resource is not there';
    Validations.of(Stack.of(this)).acknowledge(
      ...['E1150', 'F3031', 'W1001', 'W1028', 'W1030', 'W8003'].map((rule) => ({ id: `CloudFormation-Validate::${rule}`, reason })),
    );

    this.runFunction = Function.fromFunctionAttributes(this, 'RunFunction', {
      functionArn: this.output('FunctionArn'),
      sameEnvironment: true,
    });
    this.table = Table.fromTableName(this, 'Table', this.output('TableName'));
    this.bus = EventBus.fromEventBusArn(this, 'Bus', this.output('OutboxBusArn'));
    this.healthTopic = Topic.fromTopicArn(this, 'Health', this.output('HealthTopicArn'));
    this.alarmTopic = Topic.fromTopicArn(this, 'Alarms', this.output('AlarmTopicArn'));
  }

  /** Returns the value of an output of the template. One that has a condition may have no value. */
  output(name: OutputName): string {
    return Token.asString(this.template.getOutput(name).value);
  }

  /** Returns the parameters that are given, by the template's names, and reports those that the template refuses. */
  private given(template: Template, props: AgentTriggerProps): Record<string, unknown> {
    const given: Record<string, unknown> = {};
    for (const [property, name] of Object.entries(PARAMETERS)) {
      const value = props[property as keyof AgentTriggerParameters];
      // The file of the template says the architecture.
      if (value === undefined || name === 'Architecture') continue;
      const problem = Token.isUnresolved(value) ? undefined : problemOf(template.Parameters[name], value);
      if (problem) throw new Error(`${property}: ${problem}`);
      given[name] = typeof value === 'number' ? String(value) : value;
    }
    return given;
  }
}
