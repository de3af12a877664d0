#!/usr/bin/env node
// A stack of agent-trigger alone: `cdk deploy --parameters AgentApiUrl=https://…`.
// The release is in ../../dist, unless RELEASE says otherwise; `--context stackName=NAME` names the stack.

import { App, Stack, Validations } from 'aws-cdk-lib';
import { AgentTrigger } from '../lib';

const app = new App();
const stackName: string = app.node.tryGetContext('stackName') ?? 'agent-trigger';
const architecture = app.node.tryGetContext('architecture');
const stack = new Stack(app, 'AgentTrigger', { stackName });
// The CDK checks each parameter's default wherever the parameter is used, and does not see what conditions rule out.
const conditions = 'A condition leaves the property out while the parameter is empty, or the output while the resource is not there';
Validations.of(stack).acknowledge(
  ...['E1150', 'F3031', 'W1001', 'W1028', 'W1030'].map((rule) => ({ id: `CloudFormation-Validate::${rule}`, reason: conditions })),
  { id: 'Annotation::info-annotation', reason: 'The mapping is the template\'s own' },
);
new AgentTrigger(stack, 'AgentTrigger', { release: process.env.RELEASE ?? '../../dist', architecture });
