"""Translate a SAM template as CloudFormation would, and check what its roles may do.

usage: template.py TEMPLATE TRANSLATED

cfn-lint looks only briefly at SAM's own resources: a wrong !Ref in a function passes. It reads the translation fully.
"""

import json
import re
import sys
from pathlib import Path

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.sdk.parameter import SamParameterValues
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

SOURCES = Path(__file__).parent.parent / "src"

# X-Ray has no resources that a policy could name.
ANY_RESOURCE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}

# What the function calls, by the name of the SDK's method; each needs its action, and each action its call.
SDK_CALLS = {
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "batch_get_item": "dynamodb:BatchGetItem",
    "batch_write_item": "dynamodb:BatchWriteItem",
    "transact_get_items": "dynamodb:TransactGetItems",
    "transact_write_items": "dynamodb:TransactWriteItems",
    "describe_user_pool": "cognito-idp:DescribeUserPool",
    "describe_user_pool_client": "cognito-idp:DescribeUserPoolClient",
}


def translate(path):
    template = yaml_parse(Path(path).read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # Where `sam deploy` would have put the built code.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    session = boto3.session.Session(region_name="us-east-1")
    values = SamParameterValues({})
    values.add_default_parameter_values(template)
    values.add_pseudo_parameter_values(session)
    return Translator({}, Parser(), boto_session=session).translate(template, values.parameter_values)


def listed(value):
    return value if isinstance(value, list) else [value]


def branches(value):
    """The value, or each value that an Fn::If may take, without AWS::NoValue."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [leaf for branch in value["Fn::If"][1:] for leaf in branches(branch)]
    return [] if value == {"Ref": "AWS::NoValue"} else [value]


def grants(role):
    """Every (action, resource) pair that a role's policies allow."""
    for policy in role.get("Policies", []):
        for statement in listed(policy["PolicyDocument"]["Statement"]):
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield from ((a, r) for a in branches(action) for r in branches(resource))


def problems(template):
    roles = {n: r["Properties"] for n, r in template["Resources"].items() if r["Type"] == "AWS::IAM::Role"}
    for name, role in roles.items():
        if role.get("ManagedPolicyArns"):
            yield f"{name}: managed policies grant more than they say: {role['ManagedPolicyArns']}"
        for action, resource in grants(role):
            if "*" in action:
                yield f"{name}: wildcard action {action}"
            if "*" in json.dumps(resource) and action not in ANY_RESOURCE:
                yield f"{name}: {action} on wildcard resource {resource}"

    functions = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    for role in (roles[f["Role"]["Fn::GetAtt"][0]] for f in functions):
        granted = {action for action, _ in grants(role)}
        source = "".join(p.read_text() for p in sorted(SOURCES.rglob("*.rs")))
        called = {action for call, action in SDK_CALLS.items() if re.search(rf"\.\s*{call}\(\)", source)}
        for action in sorted(called - granted):
            yield f"the function calls {action}, which its role does not grant"
        for action in sorted((granted & set(SDK_CALLS.values())) - called):
            yield f"the function's role grants {action}, which it does not call"


def main():
    source, translated = sys.argv[1:]
    template = translate(source)
    Path(translated).write_text(json.dumps(template, indent=2))
    found = list(problems(template))
    print("\n".join(found) or f"{source}: every role grants single actions on named resources")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
