"""Translate a SAM template as CloudFormation would, and check what its roles may do, how its rules deliver, and how
people are informed.

usage: template.py TEMPLATE TRANSLATED [WHOLE]

WHOLE becomes the translation with every optional part in it and without conditions, for tools that look into no Fn::If.

cfn-lint checks SAM's own resources only roughly: a wrong !Ref in a function passes. It checks the translation fully.
"""

import json
import re
import sys
from pathlib import Path

import boto3
import hook_role
import operations
from operations import of_type
from samtranslator.parser.parser import Parser
from samtranslator.sdk.parameter import SamParameterValues
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

NO_VALUE = {"Ref": "AWS::NoValue"}

ROOT = Path(__file__).parent.parent
# The sources of each function's own code, by its role, the actions that it calls through the other's, and the calls in
# these sources that only the other surface of the same binary makes.
FUNCTIONS = {
    "FunctionRole": (["src"], set(), set()),
    "ManageRole": (
        ["api/src"],
        {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "lambda:InvokeFunction"},
        {"ssm:GetParameter"},
    ),
    "HookRole": (
        ["api/src/hooks", "api/src/store/hooks.rs", "api/src/clients/ssm.rs"],
        {"dynamodb:PutItem", "dynamodb:UpdateItem", "lambda:InvokeFunction"},
        {"ssm:PutParameter", "ssm:DeleteParameter"},
    ),
    # A read, the write of a report, and the look that stops a session.
    "ReportsRole": (["api/src/reports"], {"dynamodb:GetItem", "dynamodb:UpdateItem", "sqs:SendMessage"}, set()),
}

# The routes of the control plane that need no login: the page, and whether it lives.
OPEN_ROUTES = {"GET /ping", "GET /v1/ping", "GET /", "GET /assets/{proxy+}", "GET /config.json"}
# The routes of webhooks, whose senders sign what they send. They lead to the function that can do nothing else.
HOOK_ROUTES = {
    f"POST {version}{path}"
    for version in ("", "/v1")
    for path in ("/hooks/{hookId}", "/webhooks/{hookId}", "/triggers/{hookId}/webhook")
}

# What the frontend that the API serves unchanged sends from a page of another origin, and what a careful client adds.
CLIENT_HEADERS = {
    "authorization",
    "content-type",
    "if-match",
    "if-none-match",
    "idempotency-key",
    "x-amzn-bedrock-agentcore-runtime-custom-id-token",
}

# Actions that may have the resource `*`, with the reason.
ANY_RESOURCE = {
    # X-Ray has no resources that a policy can name.
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    # Pipes requires it, and it has no resource that a policy can name.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-permissions.html
    "dynamodb:ListStreams",
    # Lambda asks for these on all resources before it puts a function into a VPC.
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}

# The marks of the buses whose events the function believes.
MARKS = {"OutboxBus": "stack-bus", "ReportBus": "report-bus"}

# The rules that make a command of an event of AWS's own.
COMMANDS = {"TaskStoppedRule": "Cancel Execution"}

# What a pipe needs to read a table's stream (the page named above).
READ_STREAM = {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}

# Wildcards of a part of a named resource: any endpoint of the runtimes that the parameter lists, any parameter under its
# path, any secret of a webhook, and any version or alias of the function.
PARTS = {
    "lambda:InvokeFunction": "${AgentTriggerFunction.Arn}:*",
    "bedrock-agentcore:InvokeAgentRuntime": "/runtime-endpoint/*",
    "bedrock-agentcore:StopRuntimeSession": "/runtime-endpoint/*",
    # Any state machine of the account may wait for a run.
    "states:SendTaskFailure": ":stateMachine:*",
    "states:DescribeExecution": ":execution:*",
    "states:SendTaskSuccess": ":stateMachine:*",
    "ssm:GetParameter": ("parameter${AgentParameterPath}*", hook_role.SECRETS),
    "ssm:PutParameter": hook_role.SECRETS,
    "ssm:DeleteParameter": hook_role.SECRETS,
    "scheduler:CreateSchedule": "${ScheduleGroup}/trigger-*",
    "scheduler:UpdateSchedule": "${ScheduleGroup}/trigger-*",
    "scheduler:DeleteSchedule": "${ScheduleGroup}/trigger-*",
    "scheduler:GetSchedule": "${ScheduleGroup}/trigger-*",
}

# The calls of the function as the SDK spells them, with the IAM action that each needs. Each call needs its action, and
# each action needs its call. IAM has no action for a transaction: it requires those of the transaction's parts.
SDK_CALLS = {
    r"\.\s*get_item\(\)": "dynamodb:GetItem",
    r"\.\s*put_item\(\)": "dynamodb:PutItem",
    r"\.\s*update_item\(\)": "dynamodb:UpdateItem",
    r"\.\s*delete_item\(\)": "dynamodb:DeleteItem",
    r"\.\s*query\(\)": "dynamodb:Query",
    r"\.\s*scan\(\)": "dynamodb:Scan",
    r"\.\s*batch_get_item\(\)": "dynamodb:BatchGetItem",
    r"\.\s*batch_write_item\(\)": "dynamodb:BatchWriteItem",
    r"\bGet::builder\(\)": "dynamodb:GetItem",
    r"\bPut::builder\(\)": "dynamodb:PutItem",
    r"\bUpdate::builder\(\)": "dynamodb:UpdateItem",
    r"\bDelete::builder\(\)": "dynamodb:DeleteItem",
    r"\bConditionCheck::builder\(\)": "dynamodb:ConditionCheckItem",
    r"\.\s*describe_user_pool\(\)": "cognito-idp:DescribeUserPool",
    r"\.\s*describe_user_pool_client\(\)": "cognito-idp:DescribeUserPoolClient",
    r"x-amz-invocation-type": "lambda:InvokeFunction",
    r"\.\s*create_schedule\(\)": "scheduler:CreateSchedule",
    r"\.\s*update_schedule\(\)": "scheduler:UpdateSchedule",
    r"\.\s*delete_schedule\(\)": "scheduler:DeleteSchedule",
    r"\.\s*get_schedule\(\)": "scheduler:GetSchedule",
    # These are no calls of the SDK but requests of the function's own.
    r"\"bedrock-agentcore\"": "bedrock-agentcore:InvokeAgentRuntime",
    r"/stopruntimesession": "bedrock-agentcore:StopRuntimeSession",
    r"AmazonSSM\.GetParameter": "ssm:GetParameter",
    r"AmazonSQS\.SendMessage": "sqs:SendMessage",
    r"\.\s*get_parameter\(\)": "ssm:GetParameter",
    r"\.\s*put_parameter\(\)": "ssm:PutParameter",
    r"\.\s*delete_parameter\(\)": "ssm:DeleteParameter",
}


def translate(path):
    template = yaml_parse(Path(path).read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # The place where `sam deploy` would have put the built code.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    session = boto3.session.Session(region_name="us-east-1")
    values = SamParameterValues({})
    values.add_default_parameter_values(template)
    values.add_pseudo_parameter_values(session)
    return Translator({}, Parser(), boto_session=session).translate(template, values.parameter_values)


def whole(value):
    """Return the value with the first branch of every Fn::If, which is that of a parameter that is given."""
    if isinstance(value, dict):
        if set(value) == {"Fn::If"}:
            return whole(value["Fn::If"][1])
        parts = {name: whole(part) for name, part in value.items() if name != "Condition" or not isinstance(part, str)}
        return {name: part for name, part in parts.items() if part != NO_VALUE}
    if isinstance(value, list):
        return [part for part in map(whole, value) if part != NO_VALUE]
    return value


def scannable(template):
    """Return the template for a scan that looks neither into an Fn::If nor into a policy that is a role's alone."""
    scanned = whole(template)
    for resource in scanned["Resources"].values():
        if resource["Type"] == "AWS::IAM::RolePolicy":
            resource["Type"] = "AWS::IAM::Policy"
            resource["Properties"]["Roles"] = [resource["Properties"].pop("RoleName")]
    return scanned


def listed(value):
    return value if isinstance(value, list) else [value]


def listed_parts(action):
    parts = PARTS.get(action, ())
    return (parts,) if isinstance(parts, str) else parts


def branches(value):
    """Return the value, or each value that an Fn::If may have, without AWS::NoValue."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [leaf for branch in value["Fn::If"][1:] for leaf in branches(branch)]
    return [] if value == NO_VALUE else [value]


def documents(template, name):
    """Yield a role's policies: those in the role, and those that are separate resources."""
    yield from (policy["PolicyDocument"] for policy in template["Resources"][name]["Properties"].get("Policies", []))
    apart = [(p["PolicyDocument"], [p["RoleName"]]) for p in of_type(template, "AWS::IAM::RolePolicy").values()]
    apart += [(p["PolicyDocument"], p.get("Roles", [])) for p in of_type(template, "AWS::IAM::Policy").values()]
    yield from (document for document, roles in apart if {"Ref": name} in roles)


def grants(template, name):
    """Yield every (action, resource) pair that a role's policies allow."""
    for document in documents(template, name):
        for statement in (leaf for given in listed(document["Statement"]) for leaf in branches(given)):
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield from ((a, r) for a in branches(action) for r in branches(resource))


def may_publish(template, topic):
    """Return whether EventBridge may publish to a topic. It fulfils no condition there."""
    for policy in of_type(template, "AWS::SNS::TopicPolicy").values():
        if {"Ref": topic} in policy["Topics"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                to = (statement["Principal"], statement["Action"], statement["Resource"])
                if to == ({"Service": "events.amazonaws.com"}, "sns:Publish", {"Ref": topic}):
                    return "Condition" not in statement
    return False


def problems(template):
    roles = of_type(template, "AWS::IAM::Role")
    for name, role in roles.items():
        if role.get("ManagedPolicyArns"):
            yield f"{name}: managed policies grant more than is visible here: {role['ManagedPolicyArns']}"
        for action, resource in grants(template, name):
            if "*" in action:
                yield f"{name}: wildcard action {action}"
            known = json.dumps(resource)
            for part in (*listed_parts(action), "${AdoptScheduleGroup}/trigger-*", "${ManagedFunction.Arn}:*"):
                known = known.replace(part, "")
            if "*" in known and action not in ANY_RESOURCE:
                yield f"{name}: {action} on wildcard resource {resource}"

    used = {f["Role"]["Fn::GetAtt"][0] for f in of_type(template, "AWS::Lambda::Function").values()}
    if used != set(FUNCTIONS):
        yield f"the functions have the roles {sorted(used)}, and {sorted(FUNCTIONS)} are checked"
    for role, (folders, through_the_other, of_the_other) in FUNCTIONS.items():
        granted = {action for action, _ in grants(template, role)}
        files = [p for f in folders for p in ([ROOT / f] if f.endswith(".rs") else sorted((ROOT / f).rglob("*.rs")))]
        source = "".join(p.read_text() for p in files)
        called = {action for call, action in SDK_CALLS.items() if re.search(call, source)} | through_the_other
        called -= of_the_other
        for action in sorted(called - granted):
            yield f"{role}: its function calls {action}, which it does not grant"
        for action in sorted((granted & set(SDK_CALLS.values())) - called):
            yield f"{role}: grants {action}, which its function does not call"
    yield from route_problems(template)
    yield from report_problems(template)
    yield from managed_problems(template)

    may_invoke = [json.dumps(p.get("SourceArn")) for p in of_type(template, "AWS::Lambda::Permission").values()]
    topics = of_type(template, "AWS::SNS::Topic")
    state_machines = of_type(template, "AWS::StepFunctions::StateMachine")
    may_dead_letter = json.dumps(list(of_type(template, "AWS::SQS::QueuePolicy").values()))
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        arn = json.dumps({"Fn::GetAtt": [name, "Arn"]})
        told = [target["Arn"]["Ref"] for target in rule["Targets"] if target["Arn"].get("Ref") in topics]
        for topic in told:
            if not may_publish(template, topic):
                yield f"{name}: {topic} does not let events.amazonaws.com publish"
        machines = [target for target in rule["Targets"] if target["Arn"].get("Ref") in state_machines]
        for target in machines:
            if ("states:StartExecution", target["Arn"]) not in grants(template, target["RoleArn"]["Fn::GetAtt"][0]):
                yield f"{name}: its role may not start {target['Arn']['Ref']}"
        if not told and not machines and arn not in may_invoke:
            yield f"{name}: there is no permission to invoke the function for this rule alone"
        if arn not in may_dead_letter:
            yield f"{name}: its dead-letter queue does not accept messages from it"
        for target in rule["Targets"]:
            for setting in {"RetryPolicy", "DeadLetterConfig"} - set(target):
                yield f"{name}: target {target['Id']} has no {setting}"
            if target["Arn"].get("Ref") not in {*topics, *state_machines}:
                yield from mark_problems(name, rule, target)


def pipe_problems(template):
    """Yield what a pipe's role lacks, and a permission that is made after the pipe, which would fail to start."""
    for name, pipe in of_type(template, "AWS::Pipes::Pipe").items():
        role = pipe["RoleArn"]["Fn::GetAtt"][0]
        lacking = READ_STREAM - {action for action, _ in grants(template, role)}
        if lacking:
            yield f"{name}: its role lacks {sorted(lacking)}"
        policies = [p for p in of_type(template, "AWS::IAM::RolePolicy").values() if p["RoleName"] == {"Ref": role}]
        if policies:
            yield f"{name}: its role has a policy that is a resource of its own, on which the pipe does not depend"


def delivery_problems(template):
    """Yield a subscription of a queue that would lose messages, and a queue that is hidden for too short a time."""
    accepted = json.dumps(list(of_type(template, "AWS::SQS::QueuePolicy").values()))
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        # checkov does not know this kind of encryption (.ci/checkov.yaml).
        if queue.get("SqsManagedSseEnabled") is not True:
            yield f"{name}: it is not encrypted"
    for name, subscription in of_type(template, "AWS::SNS::Subscription").items():
        if subscription["Protocol"] == "sqs":
            target = subscription.get("RedrivePolicy", {}).get("deadLetterTargetArn")
            if not target or json.dumps(target) not in accepted:
                yield f"{name}: it has no dead-letter queue that accepts its messages"
    default = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    for name, mapping in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        window = mapping.get("MaximumBatchingWindowInSeconds", 0)
        if default["SettleVisibilityTimeout"] < 6 * default["FunctionTimeout"] + window:
            yield f"{name}: AWS advises six times the function's timeout, and the window, as the visibility timeout"


def bound_problems(template):
    """Yield a role that the parameter does not bound, and an ARN or a host that is written for one partition."""
    bound = {"Fn::If": ["BoundPermissions", {"Ref": "PermissionsBoundaryArn"}, NO_VALUE]}
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if role.get("PermissionsBoundary") != bound:
            yield f"{name}: PermissionsBoundaryArn does not bound it"
    texts = json.dumps([template["Resources"], template.get("Outputs", {})])
    for wrong in re.findall(r"arn:aws:|console\.aws\.amazon\.com|[\w.-]+\.amazonaws\.com/|\.auth\.", texts):
        yield f"{wrong} holds in one partition only: use AWS::Partition, AWS::URLSuffix or the mapping"


def mark_problems(name, rule, target):
    """Yield a rule to the function that does not mark the events of the stack's own bus, or that changes any others."""
    mark = MARKS.get((rule.get("EventBusName") or {}).get("Ref"))
    wrapped = {"InputTemplate": f'{{"_from": "{mark}", "_event": <aws.events.event.json>}}'}
    inputs = {key: value for key, value in target.items() if key.startswith("Input")}
    if name in COMMANDS:
        yield from command_problems(name, rule, inputs["InputTransformer"])
        return
    if inputs != ({"InputTransformer": wrapped} if mark else {}):
        yield f"{name}: its events must reach the function {'with the mark of their bus' if mark else 'unchanged'}"


def command_problems(name, rule, transformer):
    """Yield a rule that makes a command of events which anybody could send, or a command of another kind."""
    if rule.get("EventBusName") or not all(source.startswith("aws.") for source in rule["EventPattern"]["source"]):
        yield f"{name}: makes commands of events that others than AWS can send"
    command = json.loads(re.sub(r"<(\w+)>", r"\1", transformer["InputTemplate"]))
    event = command["_event"]
    if (command["_from"], event["source"], event["detail-type"]) != ("stack-bus", "agent-trigger", COMMANDS[name]):
        yield f"{name}: does not make the command {COMMANDS[name]}"
    if set(re.findall(r"<(\w+)>", transformer["InputTemplate"])) != set(transformer["InputPathsMap"]):
        yield f"{name}: its template and its paths differ"


def managed_problems(template):
    """Yield what sets the function on a capacity provider apart from the other, and a limit that its invocations exceed."""
    functions = of_type(template, "AWS::Lambda::Function")
    managed, plain = functions["ManagedFunction"], functions["AgentTriggerFunction"]
    settings = {name: value for name, value in managed["Environment"]["Variables"].items() if name != "METRICS_SERVICE"}
    if settings != plain["Environment"]["Variables"]:
        yield "ManagedFunction: its settings are not those of AgentTriggerFunction"
    for name, function in functions.items():
        most = 5400 if "CapacityProviderConfig" in function else 900
        timeout = template["Parameters"]["FunctionTimeout"]["Default"] if name == "AgentTriggerFunction" else function["Timeout"]
        if timeout > most:
            yield f"{name}: Lambda lets it run for {most} seconds at most"
    if managed["MemorySize"] < 2048 or "VpcConfig" in managed or "ReservedConcurrentExecutions" in managed:
        yield "ManagedFunction: Managed Instances do not take it as it is"
    (config,) = [c for c in of_type(template, "AWS::Lambda::EventInvokeConfig").values() if c["FunctionName"] == {"Ref": "ManagedFunction"}]
    if config["Qualifier"] != "$LATEST.PUBLISHED" or "OnFailure" not in config["DestinationConfig"]:
        yield "ManagedFunction: its failed runs are reported to nobody"
    for name, resource in template["Resources"].items():
        if name.startswith("Managed") and resource.get("Condition") != "UseProvider":
            yield f"{name}: belongs to the capacity provider and is deployed without one"


def report_problems(template):
    """Yield what would let an agent do more than report: a second rule on its bus, or an address that others share."""
    rules = of_type(template, "AWS::Events::Rule")
    on_bus = [name for name, rule in rules.items() if rule.get("EventBusName") == {"Ref": "ReportBus"}]
    if on_bus != ["ReportRule"]:
        yield f"ReportBus: its only rule must be ReportRule, and it has {on_bus}"
    if rules["ReportRule"]["EventPattern"] != {"detail-type": ["Agent Report"]}:
        yield "ReportRule: it takes other events than reports"
    open_to_all = {"Ref": "ReportsFunction"}
    for name, permission in of_type(template, "AWS::Lambda::Permission").items():
        if permission["Principal"] == "*":
            through_url = permission.get("FunctionUrlAuthType") == "NONE" or permission.get("InvokedViaFunctionUrl") is True
            if permission["FunctionName"] != open_to_all or not through_url:
                yield f"{name}: lets everybody in"
    for name, url in of_type(template, "AWS::Lambda::Url").items():
        if url["TargetFunctionArn"] != {"Fn::GetAtt": ["ReportsFunction", "Arn"]}:
            yield f"{name}: is the address of another function than that of reports"
    function = of_type(template, "AWS::Lambda::Function")["ReportsFunction"]
    if "ReservedConcurrentExecutions" not in function:
        yield "ReportsFunction: a storm of reports could take the concurrency of runs"
    for name, resource in template["Resources"].items():
        for prefix, condition in [("Report", "MakeReports"), ("Task", "AnswerTasks")]:
            if name.startswith(prefix) and resource.get("Condition") != condition:
                yield f"{name}: belongs to an optional part and is deployed without it"


def route_problems(template):
    """Yield a route of the control plane that is open, or that takes every method and so puts preflights behind a login."""
    for name, route in of_type(template, "AWS::ApiGatewayV2::Route").items():
        key = route["RouteKey"]
        if key.split()[0] == "ANY" or key == "$default":
            yield f"{name}: lists no method"
        if (key in HOOK_ROUTES) != (route["Target"] == {"Fn::Sub": "integrations/${HookIntegration}"}):
            yield f"{name}: {key} must lead to the function of webhooks if and only if it is one of its routes"
        if key not in OPEN_ROUTES | HOOK_ROUTES and (route.get("AuthorizationType"), route.get("AuthorizerId")) != (
            "JWT",
            {"Ref": "ManageAuthorizer"},
        ):
            yield f"{name}: {key} has no authorizer"
    for name, api in of_type(template, "AWS::ApiGatewayV2::Api").items():
        allowed = json.dumps(api["CorsConfiguration"])
        for header in sorted(CLIENT_HEADERS):
            if f'"{header}"' not in allowed:
                yield f"{name}: browsers may not send {header}"
    for name, resource in template["Resources"].items():
        is_of_api = resource["Type"].startswith("AWS::ApiGatewayV2::") or re.match("Manage(?!d)|Hook", name)
        if is_of_api and resource.get("Condition") not in ("MakeApi", "MakeHttpApi"):
            yield f"{name}: belongs to the control plane and is deployed without it"


def main():
    source, translated, *others = sys.argv[1:]
    template = translate(source)
    Path(translated).write_text(json.dumps(template, indent=2))
    for other in others:
        Path(other).write_text(json.dumps(scannable(template), indent=2))
    found = [*problems(template), *pipe_problems(template), *delivery_problems(template), *bound_problems(template)]
    found += hook_role.problems([s for d in documents(template, "HookRole") for s in d["Statement"]])
    found += operations.problems(template)
    right = "every role grants single actions on named resources, every rule keeps what it cannot deliver, and every"
    right += " alarm, graph and text uses existing metrics and names existing sections of the runbook"
    print("\n".join(found) or f"{source}: {right}")
    if operations.note():
        print(operations.note())
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
