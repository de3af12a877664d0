# Made by deploy/generate from template.yaml. To change it, change that one.

output "function_name" {
  description = "The function. Invoke it asynchronously (--invocation-type Event), as schedules do, so that Lambda retries and reports failures."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FunctionName", null)
}

output "function_arn" {
  description = "The function, as the target of a schedule or a rule."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FunctionArn", null)
}

output "run_function_arn" {
  description = "The function that runs agents, as the target of schedules and rules of your own. With CapacityProviderArn it is the one on your capacity provider."
  value       = lookup(aws_cloudformation_stack.this.outputs, "RunFunctionArn", null)
}

output "log_group_name" {
  description = "The function's log group."
  value       = lookup(aws_cloudformation_stack.this.outputs, "LogGroupName", null)
}

output "table_name" {
  description = "The table of execution records."
  value       = lookup(aws_cloudformation_stack.this.outputs, "TableName", null)
}

output "schedule_dead_letter_queue_url" {
  description = "Keeps scheduled fires that never reached the function for 14 days."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ScheduleDeadLetterQueueUrl", null)
}

output "schedule_dead_letter_queue_arn" {
  description = "The dead-letter queue for schedules of your own."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ScheduleDeadLetterQueueArn", null)
}

output "schedule_group_name" {
  description = "The group to create schedules of your own in."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ScheduleGroupName", null)
}

output "scheduler_role_arn" {
  description = "The role for schedules of your own. It serves only schedules in the group."
  value       = lookup(aws_cloudformation_stack.this.outputs, "SchedulerRoleArn", null)
}

output "outbox_bus_name" {
  description = "The event bus on which ended executions and changes of triggers' health are announced, and to which you send commands to run a trigger now or an execution again."
  value       = lookup(aws_cloudformation_stack.this.outputs, "OutboxBusName", null)
}

output "outbox_bus_arn" {
  description = "The same event bus, to name in policies."
  value       = lookup(aws_cloudformation_stack.this.outputs, "OutboxBusArn", null)
}

output "outbox_dead_letter_queue_url" {
  description = "Keeps for 14 days the messages that identify executions and changes of health that were not announced."
  value       = lookup(aws_cloudformation_stack.this.outputs, "OutboxDeadLetterQueueUrl", null)
}

output "event_dead_letter_queue_url" {
  description = "Keeps events that never reached the function for 14 days."
  value       = lookup(aws_cloudformation_stack.this.outputs, "EventDeadLetterQueueUrl", null)
}

output "event_dead_letter_queue_arn" {
  description = "The dead-letter queue for rules of your own whose names begin with OwnRuleNamePrefix."
  value       = lookup(aws_cloudformation_stack.this.outputs, "EventDeadLetterQueueArn", null)
}

output "own_rule_name_prefix" {
  description = "The prefix that the name of a rule of your own must have to use the event dead-letter queue."
  value       = lookup(aws_cloudformation_stack.this.outputs, "OwnRuleNamePrefix", null)
}

output "health_topic_arn" {
  description = "Gets one message when a trigger begins to fail, is paused or runs well again. Subscribe to it."
  value       = lookup(aws_cloudformation_stack.this.outputs, "HealthTopicArn", null)
}

output "notification_dead_letter_queue_url" {
  description = "Keeps notifications that were not sent for 14 days."
  value       = lookup(aws_cloudformation_stack.this.outputs, "NotificationDeadLetterQueueUrl", null)
}

output "failure_topic_arn" {
  description = "Gets Lambda's report of every run that failed for good, with its event and therefore its prompt."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FailureTopicArn", null)
}

output "failed_events_queue_url" {
  description = "Keeps every failed event for 14 days."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FailedEventsQueueUrl", null)
}

output "failure_dead_letter_queue_url" {
  description = "Keeps for 14 days the failed events that could not be put into that queue."
  value       = lookup(aws_cloudformation_stack.this.outputs, "FailureDeadLetterQueueUrl", null)
}

output "settle_queue_url" {
  description = "The queue from which the function settles failed runs."
  value       = lookup(aws_cloudformation_stack.this.outputs, "SettleQueueUrl", null)
}

output "settle_dead_letter_queue_url" {
  description = "Keeps reports of failed runs that could not be settled for 14 days."
  value       = lookup(aws_cloudformation_stack.this.outputs, "SettleDeadLetterQueueUrl", null)
}

output "alarm_topic_arn" {
  description = "Gets every alarm. Subscribe to it."
  value       = lookup(aws_cloudformation_stack.this.outputs, "AlarmTopicArn", null)
}

output "dashboard_url" {
  description = "The dashboard, one week at a glance."
  value       = lookup(aws_cloudformation_stack.this.outputs, "DashboardUrl", null)
}

output "user_pool_id" {
  description = "The user pool that issues the function's tokens."
  value       = lookup(aws_cloudformation_stack.this.outputs, "UserPoolId", null)
}

output "user_pool_client_id" {
  description = "The client that the function uses. Make your agent accept its tokens."
  value       = lookup(aws_cloudformation_stack.this.outputs, "UserPoolClientId", null)
}

output "discovery_url" {
  description = "The address at which your agent finds the keys to check the function's tokens."
  value       = lookup(aws_cloudformation_stack.this.outputs, "DiscoveryUrl", null)
}

output "token_endpoint_domain" {
  description = "The host that issues the function's tokens."
  value       = lookup(aws_cloudformation_stack.this.outputs, "TokenEndpointDomain", null)
}

output "api_url" {
  description = "The control plane (docs/api.md)."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ApiUrl", null)
}

output "user_client_id" {
  description = "The public app client with which users log in to the control plane."
  value       = lookup(aws_cloudformation_stack.this.outputs, "UserClientId", null)
}

output "hook_url" {
  description = "The address of webhooks, to which a trigger's own id is appended (docs/webhooks.md)."
  value       = lookup(aws_cloudformation_stack.this.outputs, "HookUrl", null)
}

output "hook_secret_path" {
  description = "The path in SSM below which the secrets of webhooks are stored, the HOOK_SECRET_PATH of triggerctl."
  value       = lookup(aws_cloudformation_stack.this.outputs, "HookSecretPath", null)
}

output "hook_function_arn" {
  description = "The function that receives webhooks, the HOOK_FUNCTION_ARN of triggerctl."
  value       = lookup(aws_cloudformation_stack.this.outputs, "HookFunctionArn", null)
}

output "reports_endpoint" {
  description = "The address to which the agents of detached runs report. Each request to an agent names it."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ReportsEndpoint", null)
}

output "report_bus_arn" {
  description = "The event bus on which agents may report instead. Give them events:PutEvents on it."
  value       = lookup(aws_cloudformation_stack.this.outputs, "ReportBusArn", null)
}
