# Made by deploy/generate from template.yaml. To change it, change that one.

variable "agent_api_url" {
  type        = string
  default     = null
  description = "Address of the agent that every run calls unless Agents names another, or the ARN of its AgentCore runtime. For the protocol invocations, /invocations is appended unless the address already ends with it."
}

variable "agent_protocol" {
  type        = string
  default     = null
  description = "Protocol of the agent at AgentApiUrl."

  validation {
    condition     = var.agent_protocol == null ? true : contains(["invocations", "ag-ui", "a2a", "a2a-1.0", "openai-responses", "openai-chat", "langgraph", "adk"], var.agent_protocol)
    error_message = "agent_protocol must be one of invocations, ag-ui, a2a, a2a-1.0, openai-responses, openai-chat, langgraph, adk."
  }
}

variable "agent_auth" {
  type        = string
  default     = null
  description = "What proves to the agent at AgentApiUrl who calls. With cognito, the stack creates a user pool unless CognitoUserPoolId names yours. With iam, add the runtime to AgentRuntimeArns."

  validation {
    condition     = var.agent_auth == null ? true : contains(["cognito", "iam", "none"], var.agent_auth)
    error_message = "agent_auth must be one of cognito, iam, none."
  }
}

variable "architecture" {
  type        = string
  default     = null
  description = "Processor the function runs on. arm64 costs less."

  validation {
    condition     = var.architecture == null ? true : contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be one of arm64, x86_64."
  }
}

variable "agents" {
  type        = string
  default     = null
  description = "Agents by id, as a JSON object (docs/agents.md), or ssm:/path/ for one SSM parameter an agent. If one of them uses cognito while AgentAuth does not, give CognitoUserPoolId. Leave empty for the agent at AgentApiUrl alone."
}

variable "agent_parameter_path" {
  type        = string
  default     = null
  description = "Path of the SSM parameters that the function may read, such as /agents/. Needed where Agents names a path, and for secrets. Leave empty for none."
}

variable "agent_runtime_arns" {
  type        = list(string)
  default     = null
  description = "ARNs of the AgentCore runtimes that the function may call with iam, separated by commas. Leave empty for none."
}

variable "agents_table_name" {
  type        = string
  default     = null
  description = "Your table of agents by userId and agentId, in this account and region. An agent without a row is not called then. Leave empty for none."
}

variable "cognito_user_pool_id" {
  type        = string
  default     = null
  description = "Your Cognito user pool, in this account and region. If left empty, the stack creates a pool with a machine client."
}

variable "cognito_client_id" {
  type        = string
  default     = null
  description = "The client of your user pool that may use the client_credentials grant. Needed only with CognitoUserPoolId."
}

variable "cognito_domain" {
  type        = string
  default     = null
  description = "Host of your pool's token endpoint, without https://. If left empty, it is read from the pool. Used only with CognitoUserPoolId."
}

variable "cognito_scope" {
  type        = string
  default     = null
  description = "Scopes to request, separated by spaces. If left empty, the token has every scope that your client may have. Used only with CognitoUserPoolId."
}

variable "notification_email" {
  type        = string
  default     = null
  description = "E-mail address that gets one message when a trigger begins to fail, is paused or recovers, and one for every alarm. It first gets two links to confirm. Leave empty for no e-mail."
}

variable "notify_failed_executions" {
  type        = string
  default     = null
  description = "Whether every failed execution of a trigger that is not stored in the table sends a message too. A stored trigger sends one when its health changes."

  validation {
    condition     = var.notify_failed_executions == null ? true : contains(["ENABLED", "DISABLED"], var.notify_failed_executions)
    error_message = "notify_failed_executions must be one of ENABLED, DISABLED."
  }
}

variable "runbook_url" {
  type        = string
  default     = null
  description = "Address at which your people read RUNBOOK.md, such as that of your repository or of the book. Alarms and messages link to its sections."
}

variable "schedule_state" {
  type        = string
  default     = null
  description = "Whether the example schedule fires. It does not call the agent until this is ENABLED."

  validation {
    condition     = var.schedule_state == null ? true : contains(["ENABLED", "DISABLED"], var.schedule_state)
    error_message = "schedule_state must be one of ENABLED, DISABLED."
  }
}

variable "schedule_expression" {
  type        = string
  default     = null
  description = "When the example schedule fires, as cron(...), rate(...) or at(...)."
}

variable "schedule_timezone" {
  type        = string
  default     = null
  description = "Time zone of the schedule expression, such as Europe/Berlin."
}

variable "agent_id" {
  type        = string
  default     = null
  description = "The agent that the example schedule runs."
}

variable "user_id" {
  type        = string
  default     = null
  description = "The user on whose behalf the example schedule runs the agent."
}

variable "prompt" {
  type        = string
  default     = null
  description = "The task that the example schedule gives the agent."
}

variable "s3_bucket_name" {
  type        = string
  default     = null
  description = "The bucket whose new objects reach the triggers subscribed to aws-s3. It must send its events to EventBridge. Leave empty for none."
}

variable "alarm_name_prefix" {
  type        = string
  default     = null
  description = "Name prefix of the CloudWatch alarms that reach the triggers subscribed to aws-cloudwatch when they go off. Alarms of this stack, and of any stack whose name begins with this stack's name and a hyphen, never do. Leave empty for none."
}

variable "event_bus_name" {
  type        = string
  default     = null
  description = "Your event bus, in this account and region. Its events with the source EventSource reach the triggers subscribed to that source. Leave empty for none."
}

variable "event_source" {
  type        = string
  default     = null
  description = "Source of the events to take from EventBusName, such as com.example.orders. Triggers subscribe to it as com-example-orders."
}

variable "chain_state" {
  type        = string
  default     = null
  description = "Whether the end of an execution reaches the triggers subscribed to agent-trigger. If enabled, every end costs one invocation."

  validation {
    condition     = var.chain_state == null ? true : contains(["ENABLED", "DISABLED"], var.chain_state)
    error_message = "chain_state must be one of ENABLED, DISABLED."
  }
}

variable "chain_depth_limit" {
  type        = number
  default     = null
  description = "How many executions may follow the first one of a chain. The next one is recorded as skipped and does not run, so a chain that loops ends."

  validation {
    condition     = var.chain_depth_limit == null ? true : var.chain_depth_limit >= 1
    error_message = "chain_depth_limit must be at least 1."
  }

  validation {
    condition     = var.chain_depth_limit == null ? true : var.chain_depth_limit <= 100
    error_message = "chain_depth_limit must be at most 100."
  }
}

variable "reports_state" {
  type        = string
  default     = null
  description = "Whether the agents of detached runs may report, over HTTPS and on an event bus of its own (docs/long-runs.md). A run that outlives its invocation needs it."

  validation {
    condition     = var.reports_state == null ? true : contains(["ENABLED", "DISABLED"], var.reports_state)
    error_message = "reports_state must be one of ENABLED, DISABLED."
  }
}

variable "reports_concurrency" {
  type        = string
  default     = null
  description = "Reports that are received at once at most. Lambda keeps so many free for them, and none of them for other functions. Others are answered with 429 and sent again. Leave empty to share the account's concurrency."
}

variable "step_functions_state" {
  type        = string
  default     = null
  description = "Whether a state machine that waits for a run with a task token is answered (examples/step-functions). An execution of Step Functions that is stopped or times out cancels the runs that it waits for."

  validation {
    condition     = var.step_functions_state == null ? true : contains(["ENABLED", "DISABLED"], var.step_functions_state)
    error_message = "step_functions_state must be one of ENABLED, DISABLED."
  }
}

variable "capacity_provider_arn" {
  type        = string
  default     = null
  description = "Your capacity provider of Lambda Managed Instances, on which runs may last 90 minutes instead of 15 (docs/long-runs.md). A second function runs there, and gets every event and schedule. If you set this, set SettleVisibilityTimeout to 32400. Leave empty for none."
}

variable "managed_concurrency" {
  type        = number
  default     = null
  description = "Runs at once in one process on your capacity provider. A run waits for its agent nearly all of its time."

  validation {
    condition     = var.managed_concurrency == null ? true : var.managed_concurrency >= 1
    error_message = "managed_concurrency must be at least 1."
  }

  validation {
    condition     = var.managed_concurrency == null ? true : var.managed_concurrency <= 1600
    error_message = "managed_concurrency must be at most 1600."
  }
}

variable "api_state" {
  type        = string
  default     = null
  description = "Whether the control plane is deployed, an HTTP API for triggers, schedules and executions (docs/api.md). It needs a user pool."

  validation {
    condition     = var.api_state == null ? true : contains(["ENABLED", "DISABLED"], var.api_state)
    error_message = "api_state must be one of ENABLED, DISABLED."
  }
}

variable "http_api_id" {
  type        = string
  default     = null
  description = "Your HTTP API, to which the routes of the control plane are added. If left empty, the stack creates one."
}

variable "http_api_url" {
  type        = string
  default     = null
  description = "The address of your HTTP API without a slash at its end, if it is another one than that of its stage $default, such as https://api.example.com/agents. The addresses of webhooks begin with it."
}

variable "user_client_ids" {
  type        = list(string)
  default     = null
  description = "App clients whose access tokens the control plane accepts, separated by commas. If left empty, a client of the stack's own pool."
}

variable "api_allowed_origins" {
  type        = list(string)
  default     = null
  description = "Origins of web pages that may call the stack's own HTTP API, such as https://app.example.com. Leave empty for none."
}

variable "event_sources" {
  type        = string
  default     = null
  description = "The event sources that triggers made through the control plane may subscribe to, as a JSON array of objects with id, name and description."
}

variable "adopt_schedule_group" {
  type        = string
  default     = null
  description = "The schedule group in which another API has made the schedules of your triggers, such as default. The control plane then replaces each by one of its own when the trigger is saved. Leave empty for none."
}

variable "hook_reserved_concurrency" {
  type        = string
  default     = null
  description = "Invocations of the function that receives webhooks that run at once at most. Further deliveries are told to come again, and runs keep the rest of the account's. Leave empty to share the account's."
}

variable "vpc_subnet_ids" {
  type        = list(string)
  default     = null
  description = "Private subnets for the function, if its agents are in your VPC, separated by commas. From there it must reach DynamoDB, Cognito, Lambda and SSM. Leave empty for none."
}

variable "security_group_ids" {
  type        = list(string)
  default     = null
  description = "Security groups for the function in VpcSubnetIds, separated by commas."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = null
  description = "ARN of the policy that bounds the permissions of every role of the stack. Leave empty for none."
}

variable "reserved_concurrency" {
  type        = string
  default     = null
  description = "Invocations of the function that run at once at most. Lambda keeps so many free for it, and none of them for other functions. Leave empty to share the account's."
}

variable "settle_maximum_concurrency" {
  type        = string
  default     = null
  description = "Invocations that settle failed runs at once at most, from 2 to 1000. With ReservedConcurrency it should be less than that, so that schedules find room. Leave empty for no limit."
}

variable "agent_idle_timeout_seconds" {
  type        = string
  default     = null
  description = "Give up on an agent that has been silent for this many seconds in the middle of its answer. Leave empty to wait without this limit, because tools can be quiet for many minutes."
}

variable "function_timeout" {
  type        = number
  default     = null
  description = "Seconds that an attempt has. Lambda itself says what it allows. If you change this, change SettleVisibilityTimeout too."

  validation {
    condition     = var.function_timeout == null ? true : var.function_timeout >= 60
    error_message = "function_timeout must be at least 60."
  }
}

variable "settle_visibility_timeout" {
  type        = number
  default     = null
  description = "Seconds until a report that could not be settled is tried again. It should be six times FunctionTimeout, as AWS advises, and must not be less than FunctionTimeout."

  validation {
    condition     = var.settle_visibility_timeout == null ? true : var.settle_visibility_timeout >= 60
    error_message = "settle_visibility_timeout must be at least 60."
  }

  validation {
    condition     = var.settle_visibility_timeout == null ? true : var.settle_visibility_timeout <= 43200
    error_message = "settle_visibility_timeout must be at most 43200."
  }
}

variable "execution_ttl_days" {
  type        = number
  default     = null
  description = "Days after which the record of a run is deleted."

  validation {
    condition     = var.execution_ttl_days == null ? true : var.execution_ttl_days >= 1
    error_message = "execution_ttl_days must be at least 1."
  }

  validation {
    condition     = var.execution_ttl_days == null ? true : var.execution_ttl_days <= 3650
    error_message = "execution_ttl_days must be at most 3650."
  }
}

variable "metrics_by_trigger" {
  type        = string
  default     = null
  description = "Whether the metrics are also kept for each trigger. CloudWatch charges for each metric of each trigger."

  validation {
    condition     = var.metrics_by_trigger == null ? true : contains(["true", "false"], var.metrics_by_trigger)
    error_message = "metrics_by_trigger must be one of true, false."
  }
}

locals {
  # The parameters that are given, by the template's names. CloudFormation takes texts alone.
  given = {
    AgentApiUrl              = var.agent_api_url
    AgentProtocol            = var.agent_protocol
    AgentAuth                = var.agent_auth
    Architecture             = var.architecture
    Agents                   = var.agents
    AgentParameterPath       = var.agent_parameter_path
    AgentRuntimeArns         = var.agent_runtime_arns == null ? null : join(",", var.agent_runtime_arns)
    AgentsTableName          = var.agents_table_name
    CognitoUserPoolId        = var.cognito_user_pool_id
    CognitoClientId          = var.cognito_client_id
    CognitoDomain            = var.cognito_domain
    CognitoScope             = var.cognito_scope
    NotificationEmail        = var.notification_email
    NotifyFailedExecutions   = var.notify_failed_executions
    RunbookUrl               = var.runbook_url
    ScheduleState            = var.schedule_state
    ScheduleExpression       = var.schedule_expression
    ScheduleTimezone         = var.schedule_timezone
    AgentId                  = var.agent_id
    UserId                   = var.user_id
    Prompt                   = var.prompt
    S3BucketName             = var.s3_bucket_name
    AlarmNamePrefix          = var.alarm_name_prefix
    EventBusName             = var.event_bus_name
    EventSource              = var.event_source
    ChainState               = var.chain_state
    ChainDepthLimit          = var.chain_depth_limit == null ? null : tostring(var.chain_depth_limit)
    ReportsState             = var.reports_state
    ReportsConcurrency       = var.reports_concurrency
    StepFunctionsState       = var.step_functions_state
    CapacityProviderArn      = var.capacity_provider_arn
    ManagedConcurrency       = var.managed_concurrency == null ? null : tostring(var.managed_concurrency)
    ApiState                 = var.api_state
    HttpApiId                = var.http_api_id
    HttpApiUrl               = var.http_api_url
    UserClientIds            = var.user_client_ids == null ? null : join(",", var.user_client_ids)
    ApiAllowedOrigins        = var.api_allowed_origins == null ? null : join(",", var.api_allowed_origins)
    EventSources             = var.event_sources
    AdoptScheduleGroup       = var.adopt_schedule_group
    HookReservedConcurrency  = var.hook_reserved_concurrency
    VpcSubnetIds             = var.vpc_subnet_ids == null ? null : join(",", var.vpc_subnet_ids)
    SecurityGroupIds         = var.security_group_ids == null ? null : join(",", var.security_group_ids)
    PermissionsBoundaryArn   = var.permissions_boundary_arn
    ReservedConcurrency      = var.reserved_concurrency
    SettleMaximumConcurrency = var.settle_maximum_concurrency
    AgentIdleTimeoutSeconds  = var.agent_idle_timeout_seconds
    FunctionTimeout          = var.function_timeout == null ? null : tostring(var.function_timeout)
    SettleVisibilityTimeout  = var.settle_visibility_timeout == null ? null : tostring(var.settle_visibility_timeout)
    ExecutionTtlDays         = var.execution_ttl_days == null ? null : tostring(var.execution_ttl_days)
    MetricsByTrigger         = var.metrics_by_trigger
  }
  parameters = { for name, value in local.given : name => value if value != null }
}
