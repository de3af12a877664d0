#!/usr/bin/env node
// A stack of agent-trigger alone: `cdk deploy --parameters AgentApiUrl=https://…`.
// The release is in ../../dist, unless RELEASE says otherwise; `--context stackName=NAME` names the stack.

import { App, Stack } from 'aws-cdk-lib';
import { AgentTrigger } from '../lib';

const app = new App();
const stackName: string = app.node.tryGetContext('stackName') ?? 'agent-trigger';
const architecture = app.node.tryGetContext('architecture');
const stack = new Stack(app, 'AgentTrigger', { stackName });
new AgentTrigger(stack, 'AgentTrigger', { release: process.env.RELEASE ?? '../../dist', architecture });
