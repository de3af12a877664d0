// What the construct makes of properties: values in the place of parameters, and an error for those that are wrong.
//
// usage: construct.js CDK_FOLDER RELEASE

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const [folder, release] = process.argv.slice(2);
const modules = path.join(folder, 'node_modules');
const { App, Stack } = require(path.join(modules, 'aws-cdk-lib'));
const { Annotations, Match, Template } = require(path.join(modules, 'aws-cdk-lib/assertions'));
const { UserPool } = require(path.join(modules, 'aws-cdk-lib/aws-cognito'));
const { AgentTrigger } = require(path.join(folder, 'lib'));

const architecture = 'x86_64';
const made = (properties, stack = new Stack(new App(), 'Agents')) => {
  const construct = new AgentTrigger(stack, 'AgentTrigger', { release, architecture, ...properties(stack) });
  return { stack, construct, template: () => Template.fromStack(stack) };
};
const errors = (stack) => Annotations.fromStack(stack).findError('*', Match.anyValue()).map(({ entry }) => entry.data);

test('a property takes the place of its parameter and its rules', () => {
  const { stack, template } = made(() => ({ agentApiUrl: 'https://agent.example.com', functionTimeout: 300, vpcSubnetIds: ['subnet-1'], securityGroupIds: ['sg-1'] }));
  assert.deepEqual(errors(stack), []);
  const { Parameters: parameters, Rules: rules } = template().toJSON();
  assert.ok(!('AgentApiUrl' in parameters) && !('FunctionTimeout' in parameters) && 'Prompt' in parameters);
  assert.ok(!('AnAgentIsNeeded' in rules) && !('SubnetsNeedSecurityGroups' in rules) && 'TheControlPlaneNeedsUsers' in rules);
  template().hasResourceProperties('AWS::Lambda::Function', { Timeout: 300 });
});

test('a property may be a token of another resource', () => {
  const { stack, template } = made((stack) => {
    const pool = new UserPool(stack, 'Users');
    return { agentApiUrl: 'https://agent.example.com', cognitoUserPoolId: pool.userPoolId, cognitoClientId: pool.addClient('Machine').userPoolClientId };
  });
  assert.deepEqual(errors(stack), []);
  assert.ok(!('YourUserPoolNeedsItsClient' in template().toJSON().Rules));
});

test('a rule that the properties break is an error', () => {
  const { stack } = made(() => ({ agentApiUrl: 'https://agent.example.com', vpcSubnetIds: ['subnet-1'] }));
  assert.deepEqual(errors(stack), ['VpcSubnetIds and SecurityGroupIds need each other.']);
});

test('a value that CloudFormation would refuse is refused', () => {
  assert.throws(() => made(() => ({ agentApiUrl: 'http://agent' })), /agentApiUrl: must be an https:\/\/ address/);
  assert.throws(() => made(() => ({ chainDepthLimit: 0 })), /chainDepthLimit: must be at least 1/);
  assert.throws(() => made(() => ({ architecture: 'mips' })), /no files for the architecture mips/);
});

test('the files for arm64 are taken, or the others if there are none', () => {
  const taken = (architectures) => {
    const own = fs.mkdtempSync(path.join(os.tmpdir(), 'release-'));
    const file = (name) => `template.packaged-${name}.json`;
    const template = JSON.parse(fs.readFileSync(path.join(release, file(architecture)), 'utf8'));
    try {
      for (const name of fs.readdirSync(release).filter((name) => name.endsWith('.zip') || name === 'SHA256SUMS')) {
        fs.copyFileSync(path.join(release, name), path.join(own, name));
      }
      for (const name of architectures) {
        template.Parameters.Architecture.Default = name;
        template.Parameters.Architecture.AllowedValues = [name];
        fs.writeFileSync(path.join(own, file(name)), JSON.stringify(template));
      }
      return made(() => ({ release: own, architecture: undefined })).template().toJSON().Parameters.Architecture.Default;
    } finally {
      fs.rmSync(own, { recursive: true });
    }
  };
  assert.equal(taken(['x86_64']), 'x86_64');
  assert.equal(taken(['arm64', 'x86_64']), 'arm64');
  assert.throws(() => taken([]), /no files for the architecture x86_64/);
  assert.throws(() => made(() => ({ release: '/nowhere' })), /is no folder of a release/);
});

test('outputs and resources can be used', () => {
  const { construct, template } = made(() => ({}));
  for (const value of [construct.output('DiscoveryUrl'), construct.bus.eventBusArn, construct.table.tableName, construct.runFunction.functionArn]) {
    assert.match(value, /\$\{Token/);
  }
  assert.ok(template().toJSON().Outputs.DiscoveryUrl);
});
