"""Evaluate the role of the function that receives webhooks, and hold it against the table in docs/webhooks.md.

The function faces the internet, so its role is checked as IAM evaluates it: each request below is allowed or denied. And
each action, resource and condition of the role stands in the documents, and nothing else.
"""

import fnmatch
import json
import re
from pathlib import Path

# The secrets of webhooks, as the template names them.
SECRETS = "parameter/${AWS::StackName}/hooks/*"
TABLE, RUN, LOG = "TriggersTable", "AgentTriggerFunction", "HookLogGroup"
ATTRIBUTES = ["PK", "SK", "deletedAt", "ttl", "webhookConfig"]
DOCUMENT = Path(__file__).parent.parent / "docs/webhooks.md"


def get(key, attributes=None, select="SPECIFIC_ATTRIBUTES"):
    context = {"dynamodb:LeadingKeys": [key]}
    if attributes:
        context |= {"dynamodb:Attributes": attributes, "dynamodb:Select": select}
    return ("dynamodb:GetItem", TABLE, context)


def write(action, key):
    return (f"dynamodb:{action}", TABLE, {"dynamodb:LeadingKeys": [key]})


ALLOWED = [
    get("HOOK#0123"),
    get("TRIGGER#user", ATTRIBUTES),
    write("PutItem", "HOOK#0123"),
    write("UpdateItem", "HOOK#github"),
    ("ssm:GetParameter", "parameter/${AWS::StackName}/hooks/0123", {}),
    ("lambda:InvokeFunction", RUN, {}),
    ("logs:PutLogEvents", LOG, {}),
]
DENIED = [
    # A trigger's prompt, the answer of an execution, and all attributes.
    get("TRIGGER#user", [*ATTRIBUTES, "prompt"]),
    get("TRIGGER#trigger", ["PK", "SK", "output"]),
    get("TRIGGER#user", ATTRIBUTES, "ALL_ATTRIBUTES"),
    get("COUNT#user", ATTRIBUTES),
    write("PutItem", "TRIGGER#user"),
    write("UpdateItem", "TRIGGER#trigger"),
    *((f"dynamodb:{action}", TABLE, {"dynamodb:LeadingKeys": ["HOOK#0123"]}) for action in
      ("Query", "Scan", "DeleteItem", "BatchGetItem", "BatchWriteItem", "ConditionCheckItem")),
    ("ssm:GetParameter", "parameter/${AWS::StackName}/other", {}),
    ("ssm:GetParameter", "parameter/agents/key", {}),
    ("ssm:PutParameter", "parameter/${AWS::StackName}/hooks/0123", {}),
    ("ssm:GetParameterHistory", "parameter/${AWS::StackName}/hooks/0123", {}),
    ("lambda:InvokeFunction", "HookFunction", {}),
    ("lambda:UpdateFunctionCode", RUN, {}),
    ("scheduler:CreateSchedule", "trigger-1", {}),
    ("cognito-idp:DescribeUserPoolClient", "UserPool", {}),
    ("bedrock-agentcore:InvokeAgentRuntime", "runtime", {}),
    ("sts:AssumeRole", "*", {}),
]


def listed(value):
    return value if isinstance(value, list) else [value]


def resource_name(resource):
    """Return a resource as the cases above and the documents name it."""
    if "Fn::GetAtt" in resource:
        name, attribute = resource["Fn::GetAtt"]
        return name if attribute == "Arn" else None
    if "Fn::If" in resource:
        # The function that runs agents, which is another one on a capacity provider.
        return resource_name(resource["Fn::If"][2])
    return resource["Fn::Sub"].rpartition("${AWS::AccountId}:")[2]


def holds(operator, expected, actual):
    """Evaluate one operator of a condition, as IAM does."""
    given = listed(actual) if actual is not None else []
    matches = fnmatch.fnmatchcase if "Like" in operator else str.__eq__
    each = [any(matches(value, wanted) for wanted in listed(expected)) for value in given]
    if operator.startswith("ForAllValues:"):
        return all(each)
    if operator.endswith("IfExists"):
        return actual is None or all(each)
    return bool(each) and all(each)


def allows(statements, action, resource, context):
    for statement in statements:
        if statement["Effect"] != "Allow" or action not in listed(statement["Action"]):
            continue
        if not any(fnmatch.fnmatchcase(resource, resource_name(r) or "") for r in listed(statement["Resource"])):
            continue
        conditions = statement.get("Condition", {}).items()
        if all(holds(o, e, context.get(key)) for o, keys in conditions for key, e in keys.items()):
            return True
    return False


def granted(statements):
    """Return the rows of the role: the action, the resource, and the condition."""
    rows = set()
    for statement in statements:
        conditions = statement.get("Condition", {}).values()
        limits = [f"{key.split(':')[1]} {', '.join(listed(v))}" for keys in conditions for key, v in keys.items()]
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                rows.add((action, resource_name(resource), "; ".join(limits)))
    return rows


def documented():
    """Return the rows of the table in the documents."""
    rows = re.findall(r"^\| `([a-z0-9-]+:\w+)` \| `([^`]+)` \| (.*?) \| .* \|$", DOCUMENT.read_text(), re.M)
    return {(action, resource, limits.replace("`", "")) for action, resource, limits in rows}


def problems(statements):
    for action, resource, context in ALLOWED:
        if not allows(statements, action, resource, context):
            yield f"HookRole: denies {action} on {resource} {json.dumps(context)}, which its function needs"
    for action, resource, context in DENIED:
        if allows(statements, action, resource, context):
            yield f"HookRole: allows {action} on {resource} {json.dumps(context)}"
    for row in sorted(granted(statements) - documented()):
        yield f"HookRole: docs/webhooks.md does not name {row}"
    for row in sorted(documented() - granted(statements)):
        yield f"HookRole: docs/webhooks.md names {row}, which it does not grant"
