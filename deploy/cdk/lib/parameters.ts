// Made by deploy/generate from template.yaml. To change it, change that one.

/** The parameters of the template. Each has the template's default. */
export interface AgentTriggerParameters {
  /** Address of the agent that every run calls unless Agents names another, or the ARN of its AgentCore runtime. For the protocol invocations, /invocations is appended unless the address already ends with it. */
  readonly agentApiUrl?: string;
  /** Protocol of the agent at AgentApiUrl. Default: invocations. */
  readonly agentProtocol?: 'invocations' | 'ag-ui' | 'a2a' | 'a2a-1.0' | 'openai-responses' | 'openai-chat' | 'langgraph' | 'adk';
  /** What proves to the agent at AgentApiUrl who calls. With cognito, the stack creates a user pool unless CognitoUserPoolId names yours. With iam, add the runtime to AgentRuntimeArns. Default: cognito. */
  readonly agentAuth?: 'cognito' | 'iam' | 'none';
  /** Processor the function runs on. arm64 costs less. Default: arm64. */
  readonly architecture?: 'arm64' | 'x86_64';
  /** Agents by id, as a JSON object (docs/agents.md), or ssm:/path/ for one SSM parameter an agent. If one of them uses cognito while AgentAuth does not, give CognitoUserPoolId. Leave empty for the agent at AgentApiUrl alone. */
  readonly agents?: string;
  /** Path of the SSM parameters that the function may read, such as /agents/. Needed where Agents names a path, and for secrets. Leave empty for none. */
  readonly agentParameterPath?: string;
  /** ARNs of the AgentCore runtimes that the function may call with iam, separated by commas. Leave empty for none. */
  readonly agentRuntimeArns?: string[];
  /** Your table of agents by userId and agentId, in this account and region. An agent without a row is not called then. Leave empty for none. */
  readonly agentsTableName?: string;
  /** Your Cognito user pool, in this account and region. If left empty, the stack creates a pool with a machine client. */
  readonly cognitoUserPoolId?: string;
  /** The client of your user pool that may use the client_credentials grant. Needed only with CognitoUserPoolId. */
  readonly cognitoClientId?: string;
  /** Host of your pool's token endpoint, without https://. If left empty, it is read from the pool. Used only with CognitoUserPoolId. */
  readonly cognitoDomain?: string;
  /** Scopes to request, separated by spaces. If left empty, the token has every scope that your client may have. Used only with CognitoUserPoolId. */
  readonly cognitoScope?: string;
  /** E-mail address that gets one message when a trigger begins to fail, is paused or recovers, and one for every alarm. It first gets two links to confirm. Leave empty for no e-mail. */
  readonly notificationEmail?: string;
  /** Whether every failed execution of a trigger that is not stored in the table sends a message too. A stored trigger sends one when its health changes. Default: ENABLED. */
  readonly notifyFailedExecutions?: 'ENABLED' | 'DISABLED';
  /** Address at which your people read RUNBOOK.md, such as that of your repository or of the book. Alarms and messages link to its sections. Default: RUNBOOK.md. */
  readonly runbookUrl?: string;
  /** Whether the example schedule fires. It does not call the agent until this is ENABLED. Default: DISABLED. */
  readonly scheduleState?: 'ENABLED' | 'DISABLED';
  /** When the example schedule fires, as cron(...), rate(...) or at(...). Default: cron(0 9 * * ? *). */
  readonly scheduleExpression?: string;
  /** Time zone of the schedule expression, such as Europe/Berlin. Default: UTC. */
  readonly scheduleTimezone?: string;
  /** The agent that the example schedule runs. Default: my-agent. */
  readonly agentId?: string;
  /** The user on whose behalf the example schedule runs the agent. Default: my-user. */
  readonly userId?: string;
  /** The task that the example schedule gives the agent. Default: Summarise what happened since yesterday.. */
  readonly prompt?: string;
  /** The bucket whose new objects reach the triggers subscribed to aws-s3. It must send its events to EventBridge. Leave empty for none. */
  readonly s3BucketName?: string;
  /** Name prefix of the CloudWatch alarms that reach the triggers subscribed to aws-cloudwatch when they go off. Alarms of this stack, and of any stack whose name begins with this stack's name and a hyphen, never do. Leave empty for none. */
  readonly alarmNamePrefix?: string;
  /** Your event bus, in this account and region. Its events with the source EventSource reach the triggers subscribed to that source. Leave empty for none. */
  readonly eventBusName?: string;
  /** Source of the events to take from EventBusName, such as com.example.orders. Triggers subscribe to it as com-example-orders. */
  readonly eventSource?: string;
  /** Whether the end of an execution reaches the triggers subscribed to agent-trigger. If enabled, every end costs one invocation. Default: DISABLED. */
  readonly chainState?: 'ENABLED' | 'DISABLED';
  /** How many executions may follow the first one of a chain. The next one is recorded as skipped and does not run, so a chain that loops ends. Default: 8. */
  readonly chainDepthLimit?: number;
  /** Whether the agents of detached runs may report, over HTTPS and on an event bus of its own (docs/long-runs.md). A run that outlives its invocation needs it. Default: DISABLED. */
  readonly reportsState?: 'ENABLED' | 'DISABLED';
  /** Reports that are received at once at most. Lambda keeps so many free for them, and none of them for other functions. Others are answered with 429 and sent again. Leave empty to share the account's concurrency. Default: 10. */
  readonly reportsConcurrency?: string;
  /** Whether a state machine that waits for a run with a task token is answered (examples/step-functions). An execution of Step Functions that is stopped or times out cancels the runs that it waits for. Default: DISABLED. */
  readonly stepFunctionsState?: 'ENABLED' | 'DISABLED';
  /** Your capacity provider of Lambda Managed Instances, on which runs may last 90 minutes instead of 15 (docs/long-runs.md). A second function runs there, and gets every event and schedule. If you set this, set SettleVisibilityTimeout to 32400. Leave empty for none. */
  readonly capacityProviderArn?: string;
  /** Runs at once in one process on your capacity provider. A run waits for its agent nearly all of its time. Default: 64. */
  readonly managedConcurrency?: number;
  /** Whether the control plane is deployed, an HTTP API for triggers, schedules and executions (docs/api.md). It needs a user pool. Default: DISABLED. */
  readonly apiState?: 'ENABLED' | 'DISABLED';
  /** Your HTTP API, to which the routes of the control plane are added. If left empty, the stack creates one. */
  readonly httpApiId?: string;
  /** The address of your HTTP API without a slash at its end, if it is another one than that of its stage $default, such as https://api.example.com/agents. The addresses of webhooks begin with it. */
  readonly httpApiUrl?: string;
  /** App clients whose access tokens the control plane accepts, separated by commas. If left empty, a client of the stack's own pool. */
  readonly userClientIds?: string[];
  /** Origins of web pages that may call the stack's own HTTP API, such as https://app.example.com. Leave empty for none. */
  readonly apiAllowedOrigins?: string[];
  /** The event sources that triggers made through the control plane may subscribe to, as a JSON array of objects with id, name and description. */
  readonly eventSources?: string;
  /** The schedule group in which another API has made the schedules of your triggers, such as default. The control plane then replaces each by one of its own when the trigger is saved. Leave empty for none. */
  readonly adoptScheduleGroup?: string;
  /** Invocations of the function that receives webhooks that run at once at most. Further deliveries are told to come again, and runs keep the rest of the account's. Leave empty to share the account's. Default: 20. */
  readonly hookReservedConcurrency?: string;
  /** Private subnets for the function, if its agents are in your VPC, separated by commas. From there it must reach DynamoDB, Cognito, Lambda and SSM. Leave empty for none. */
  readonly vpcSubnetIds?: string[];
  /** Security groups for the function in VpcSubnetIds, separated by commas. */
  readonly securityGroupIds?: string[];
  /** ARN of the policy that bounds the permissions of every role of the stack. Leave empty for none. */
  readonly permissionsBoundaryArn?: string;
  /** Invocations of the function that run at once at most. Lambda keeps so many free for it, and none of them for other functions. Leave empty to share the account's. */
  readonly reservedConcurrency?: string;
  /** Invocations that settle failed runs at once at most, from 2 to 1000. With ReservedConcurrency it should be less than that, so that schedules find room. Leave empty for no limit. */
  readonly settleMaximumConcurrency?: string;
  /** Give up on an agent that has been silent for this many seconds in the middle of its answer. Leave empty to wait without this limit, because tools can be quiet for many minutes. */
  readonly agentIdleTimeoutSeconds?: string;
  /** Seconds that an attempt has. Lambda itself says what it allows. If you change this, change SettleVisibilityTimeout too. Default: 900. */
  readonly functionTimeout?: number;
  /** Seconds until a report that could not be settled is tried again. It should be six times FunctionTimeout, as AWS advises, and must not be less than FunctionTimeout. Default: 5400. */
  readonly settleVisibilityTimeout?: number;
  /** Days after which the record of a run is deleted. Default: 30. */
  readonly executionTtlDays?: number;
  /** Whether the metrics are also kept for each trigger. CloudWatch charges for each metric of each trigger. Default: false. */
  readonly metricsByTrigger?: 'true' | 'false';
}

/** The template's name of each property. */
export const PARAMETERS: Record<keyof AgentTriggerParameters, string> = {
  agentApiUrl: 'AgentApiUrl',
  agentProtocol: 'AgentProtocol',
  agentAuth: 'AgentAuth',
  architecture: 'Architecture',
  agents: 'Agents',
  agentParameterPath: 'AgentParameterPath',
  agentRuntimeArns: 'AgentRuntimeArns',
  agentsTableName: 'AgentsTableName',
  cognitoUserPoolId: 'CognitoUserPoolId',
  cognitoClientId: 'CognitoClientId',
  cognitoDomain: 'CognitoDomain',
  cognitoScope: 'CognitoScope',
  notificationEmail: 'NotificationEmail',
  notifyFailedExecutions: 'NotifyFailedExecutions',
  runbookUrl: 'RunbookUrl',
  scheduleState: 'ScheduleState',
  scheduleExpression: 'ScheduleExpression',
  scheduleTimezone: 'ScheduleTimezone',
  agentId: 'AgentId',
  userId: 'UserId',
  prompt: 'Prompt',
  s3BucketName: 'S3BucketName',
  alarmNamePrefix: 'AlarmNamePrefix',
  eventBusName: 'EventBusName',
  eventSource: 'EventSource',
  chainState: 'ChainState',
  chainDepthLimit: 'ChainDepthLimit',
  reportsState: 'ReportsState',
  reportsConcurrency: 'ReportsConcurrency',
  stepFunctionsState: 'StepFunctionsState',
  capacityProviderArn: 'CapacityProviderArn',
  managedConcurrency: 'ManagedConcurrency',
  apiState: 'ApiState',
  httpApiId: 'HttpApiId',
  httpApiUrl: 'HttpApiUrl',
  userClientIds: 'UserClientIds',
  apiAllowedOrigins: 'ApiAllowedOrigins',
  eventSources: 'EventSources',
  adoptScheduleGroup: 'AdoptScheduleGroup',
  hookReservedConcurrency: 'HookReservedConcurrency',
  vpcSubnetIds: 'VpcSubnetIds',
  securityGroupIds: 'SecurityGroupIds',
  permissionsBoundaryArn: 'PermissionsBoundaryArn',
  reservedConcurrency: 'ReservedConcurrency',
  settleMaximumConcurrency: 'SettleMaximumConcurrency',
  agentIdleTimeoutSeconds: 'AgentIdleTimeoutSeconds',
  functionTimeout: 'FunctionTimeout',
  settleVisibilityTimeout: 'SettleVisibilityTimeout',
  executionTtlDays: 'ExecutionTtlDays',
  metricsByTrigger: 'MetricsByTrigger',
};

/** The outputs of the template. */
export type OutputName =
  | 'FunctionName'
  | 'FunctionArn'
  | 'RunFunctionArn'
  | 'LogGroupName'
  | 'TableName'
  | 'ScheduleDeadLetterQueueUrl'
  | 'ScheduleDeadLetterQueueArn'
  | 'ScheduleGroupName'
  | 'SchedulerRoleArn'
  | 'OutboxBusName'
  | 'OutboxBusArn'
  | 'OutboxDeadLetterQueueUrl'
  | 'EventDeadLetterQueueUrl'
  | 'EventDeadLetterQueueArn'
  | 'OwnRuleNamePrefix'
  | 'HealthTopicArn'
  | 'NotificationDeadLetterQueueUrl'
  | 'FailureTopicArn'
  | 'FailedEventsQueueUrl'
  | 'FailureDeadLetterQueueUrl'
  | 'SettleQueueUrl'
  | 'SettleDeadLetterQueueUrl'
  | 'AlarmTopicArn'
  | 'DashboardUrl'
  | 'UserPoolId'
  | 'UserPoolClientId'
  | 'DiscoveryUrl'
  | 'TokenEndpointDomain'
  | 'ApiUrl'
  | 'UserClientId'
  | 'HookUrl'
  | 'HookSecretPath'
  | 'HookFunctionArn'
  | 'ReportsEndpoint'
  | 'ReportBusArn';
