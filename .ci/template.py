"""Translate a SAM template as CloudFormation would, and check what its roles may do, how its rules deliver, and how
people are informed.

usage: template.py TEMPLATE TRANSLATED

cfn-lint checks SAM's own resources only roughly: a wrong !Ref in a function passes. It checks the translation fully.
"""

import json
import re
import sys
from pathlib import Path

import boto3
import operations
from operations import of_type
from samtranslator.parser.parser import Parser
from samtranslator.sdk.parameter import SamParameterValues
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
# The sources of each function's own code, by its role, and the actions that it calls through the other's.
FUNCTIONS = {
    "FunctionRole": ("src", set()),
    "ManageRole": (
        "api/src",
        {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "lambda:InvokeFunction"},
    ),
}

# The routes of the control plane that need no login: the page, and whether it lives.
OPEN_ROUTES = {"GET /ping", "GET /", "GET /assets/{proxy+}", "GET /config.json"}

# X-Ray has no resources that a policy can name.
ANY_RESOURCE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}

# Wildcards of a part of a named resource: any endpoint of the runtimes that the parameter lists, and any parameter under
# its path.
PARTS = {
    "bedrock-agentcore:InvokeAgentRuntime": "/runtime-endpoint/*",
    "bedrock-agentcore:StopRuntimeSession": "/runtime-endpoint/*",
    "ssm:GetParameter": "parameter${AgentParameterPath}*",
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
    r"\.\s*invoke\(\)": "lambda:InvokeFunction",
    r"\.\s*create_schedule\(\)": "scheduler:CreateSchedule",
    r"\.\s*update_schedule\(\)": "scheduler:UpdateSchedule",
    r"\.\s*delete_schedule\(\)": "scheduler:DeleteSchedule",
    r"\.\s*get_schedule\(\)": "scheduler:GetSchedule",
    # These are no calls of the SDK but requests of the function's own.
    r"\"bedrock-agentcore\"": "bedrock-agentcore:InvokeAgentRuntime",
    r"/stopruntimesession": "bedrock-agentcore:StopRuntimeSession",
    r"AmazonSSM\.GetParameter": "ssm:GetParameter",
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


def listed(value):
    return value if isinstance(value, list) else [value]


def branches(value):
    """Return the value, or each value that an Fn::If may have, without AWS::NoValue."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [leaf for branch in value["Fn::If"][1:] for leaf in branches(branch)]
    return [] if value == {"Ref": "AWS::NoValue"} else [value]


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
            parts = [PARTS.get(action, "*"), "${AdoptScheduleGroup}/trigger-*"]
            shown = json.dumps(resource)
            for part in parts:
                shown = shown.replace(part, "")
            if "*" in shown and action not in ANY_RESOURCE:
                yield f"{name}: {action} on wildcard resource {resource}"

    used = {f["Role"]["Fn::GetAtt"][0] for f in of_type(template, "AWS::Lambda::Function").values()}
    if used != set(FUNCTIONS):
        yield f"the functions have the roles {sorted(used)}, and {sorted(FUNCTIONS)} are checked"
    for role, (folder, through_the_other) in FUNCTIONS.items():
        granted = {action for action, _ in grants(template, role)}
        source = "".join(p.read_text() for p in sorted((ROOT / folder).rglob("*.rs")))
        called = {action for call, action in SDK_CALLS.items() if re.search(call, source)} | through_the_other
        for action in sorted(called - granted):
            yield f"{role}: its function calls {action}, which it does not grant"
        for action in sorted((granted & set(SDK_CALLS.values())) - called):
            yield f"{role}: grants {action}, which its function does not call"
    yield from route_problems(template)

    may_invoke = [json.dumps(p.get("SourceArn")) for p in of_type(template, "AWS::Lambda::Permission").values()]
    topics = of_type(template, "AWS::SNS::Topic")
    may_dead_letter = json.dumps(list(of_type(template, "AWS::SQS::QueuePolicy").values()))
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        arn = json.dumps({"Fn::GetAtt": [name, "Arn"]})
        told = [target["Arn"]["Ref"] for target in rule["Targets"] if target["Arn"].get("Ref") in topics]
        for topic in told:
            if not may_publish(template, topic):
                yield f"{name}: {topic} does not let events.amazonaws.com publish"
        if not told and arn not in may_invoke:
            yield f"{name}: there is no permission to invoke the function for this rule alone"
        if arn not in may_dead_letter:
            yield f"{name}: its dead-letter queue does not accept messages from it"
        for target in rule["Targets"]:
            for setting in {"RetryPolicy", "DeadLetterConfig"} - set(target):
                yield f"{name}: target {target['Id']} has no {setting}"
            if target["Arn"].get("Ref") not in topics:
                yield from mark_problems(name, rule, target)


def route_problems(template):
    """Yield a route of the control plane that is open, or that takes every method and so puts preflights behind a login."""
    for name, route in of_type(template, "AWS::ApiGatewayV2::Route").items():
        key = route["RouteKey"]
        if key.split()[0] == "ANY" or key == "$default":
            yield f"{name}: lists no method"
        if key not in OPEN_ROUTES and (route.get("AuthorizationType"), route.get("AuthorizerId")) != (
            "JWT",
            {"Ref": "ManageAuthorizer"},
        ):
            yield f"{name}: {key} has no authorizer"
    for name, resource in template["Resources"].items():
        is_of_api = resource["Type"].startswith("AWS::ApiGatewayV2::") or name.startswith("Manage")
        if is_of_api and resource.get("Condition") not in ("MakeApi", "MakeHttpApi"):
            yield f"{name}: belongs to the control plane and is deployed without it"


def mark_problems(name, rule, target):
    """Yield a rule to the function that does not mark the events of the stack's own bus, or that changes any others."""
    is_own = rule.get("EventBusName") == {"Ref": "OutboxBus"}
    wrapped = {"InputTemplate": '{"_from": "stack-bus", "_event": <aws.events.event.json>}'}
    inputs = {key: value for key, value in target.items() if key.startswith("Input")}
    if inputs != ({"InputTransformer": wrapped} if is_own else {}):
        yield f"{name}: its events must reach the function {'with the mark of the own bus' if is_own else 'unchanged'}"


def main():
    source, translated = sys.argv[1:]
    template = translate(source)
    Path(translated).write_text(json.dumps(template, indent=2))
    found = [*problems(template), *operations.problems(template)]
    right = "every role grants single actions on named resources, every rule keeps what it cannot deliver, and every"
    right += " alarm, graph and text uses existing metrics and names existing sections of the runbook"
    print("\n".join(found) or f"{source}: {right}")
    if operations.note():
        print(operations.note())
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
