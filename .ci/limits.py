"""Hold the translated template against CloudFormation's and the services' limits, which show only while a stack is made.

usage: limits.py TEMPLATE.json

It prints the longest name that a stack can have. docs/deploy.md names the documents from which the numbers are.
"""

import json
import sys
from pathlib import Path

# The longest names, and the most characters of descriptions, by type and property.
NAMES = {
    ("AWS::ApiGatewayV2::Api", "Name"): 128,
    ("AWS::ApiGatewayV2::Authorizer", "Name"): 128,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Cognito::UserPool", "UserPoolName"): 128,
    ("AWS::Cognito::UserPoolDomain", "Domain"): 63,
    ("AWS::Events::EventBus", "Name"): 256,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::Scheduler::Schedule", "Name"): 64,
    ("AWS::Scheduler::ScheduleGroup", "Name"): 64,
}
TEXTS = {
    ("AWS::CloudWatch::Alarm", "AlarmDescription"): 1024,
    ("AWS::Events::EventBus", "Description"): 512,
    ("AWS::Events::Rule", "Description"): 512,
    ("AWS::IAM::Role", "Description"): 1000,
    ("AWS::Lambda::Function", "Description"): 256,
    ("AWS::Pipes::Pipe", "Description"): 512,
    ("AWS::SNS::Topic", "DisplayName"): 100,
    ("AWS::Scheduler::Schedule", "Description"): 512,
}
# What a property is named with that the resource's type does not let one choose is cut to length by CloudFormation.
LONGEST_STACK_NAME, LONGEST_REGION, UUID = 128, len("ap-southeast-99"), 36
# Rule-specific functions, and those that conditions use within them.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html
IN_RULES = {
    "Ref",
    "Fn::And",
    "Fn::Contains",
    "Fn::EachMemberEquals",
    "Fn::EachMemberIn",
    "Fn::Equals",
    "Fn::Not",
    "Fn::Or",
    "Fn::RefAll",
    "Fn::ValueOf",
    "Fn::ValueOfAll",
}
# The most characters of all policies in a role, without white space.
ROLE_POLICIES = 10_240
# The most bytes of a function's environment, names and values together.
ENVIRONMENT = 4_096


def longest(value):
    """Return the number of characters besides the stack's name, and whether that name is in it. None if it is a reference."""
    if isinstance(value, str):
        return len(value), 0
    if value == {"Ref": "AWS::StackName"}:
        return 0, 1
    if "Fn::Sub" in value:
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        stack = text.count("${AWS::StackName}")
        text = text.replace("${AWS::StackName}", "").replace("${AWS::Region}", "x" * LONGEST_REGION)
        text = text.replace("${StackUuid}", "x" * UUID)
        return (len(text), stack) if "${" not in text else None
    return None


def functions(value):
    """Yield the names of the functions in an expression."""
    if isinstance(value, list):
        for part in value:
            yield from functions(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from functions(part)


def policies(template, name):
    """Return the documents of a role's policies."""
    own = [policy["PolicyDocument"] for policy in template["Resources"][name]["Properties"].get("Policies", [])]
    others = (r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::RolePolicy")
    return own + [p["PolicyDocument"] for p in others if p["RoleName"] == {"Ref": name}]


def problems(template, text):
    for part, most in {"Resources": 500, "Parameters": 200, "Outputs": 200, "Mappings": 200}.items():
        if len(template[part]) > most:
            yield f"there are {len(template[part])} {part}, and at most {most} are allowed"
        if len(template[part]) > most // 2:
            yield f"docs/deploy.md says that there are under half of {most} {part}"
    if len(text) > 1_000_000:
        yield f"the template has {len(text)} bytes, and at most 1 MB are allowed in a bucket"
    if len(text) > 250_000:
        yield "docs/deploy.md says that the template has under a quarter of 1 MB"
    if len(template["Description"]) > 1024:
        yield "the template's description is longer than 1,024 bytes"
    for name, parameter in template["Parameters"].items():
        if len(parameter["Description"]) > 4000 or len(parameter.get("ConstraintDescription", "")) > 4000:
            yield f"{name}: its description is longer than 4,000 characters"
    for name, rule in template["Rules"].items():
        for function in sorted(
            set(functions([a["Assert"] for a in rule["Assertions"]] + [rule.get("RuleCondition")])) - IN_RULES
        ):
            yield f"{name}: a rule may not use {function}"
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        for (kind, property), most in TEXTS.items():
            if (
                resource["Type"] == kind
                and isinstance(properties.get(property), str)
                and len(properties[property]) > most
            ):
                yield f"{name}: {property} has {len(properties[property])} characters, and at most {most} are allowed"
        if resource["Type"] == "AWS::IAM::Role":
            # A reference is longer or shorter than the ARN that it becomes, so the sum is near the truth only.
            size = sum(len(json.dumps(document, separators=(",", ":"))) for document in policies(template, name))
            if size > ROLE_POLICIES:
                yield f"{name}: its policies have {size} characters, and at most {ROLE_POLICIES} are allowed"
        if resource["Type"] == "AWS::Lambda::Function":
            size = sum(len(variable) for variable in properties["Environment"]["Variables"])
            if size > ENVIRONMENT // 4:
                yield f"{name}: the names of its settings have {size} of {ENVIRONMENT} bytes"


def stack_name(template):
    """Return the longest name of a stack, and the resource that bounds it."""
    bounds = [(LONGEST_STACK_NAME, "the stack itself")]
    for name, resource in template["Resources"].items():
        for (kind, property), most in NAMES.items():
            if resource["Type"] == kind and property in resource["Properties"]:
                size = longest(resource["Properties"][property])
                if size and size[1]:
                    bounds.append(((most - size[0]) // size[1], name))
                elif size and size[0] > most:
                    bounds.append((0, name))
    return min(bounds)


def main():
    text = Path(sys.argv[1]).read_text()
    template = json.loads(text)
    found = list(problems(template, text))
    most, because = stack_name(template)
    documented = f"at most {most} characters"
    for document in ("docs/deploy.md",):
        if documented not in " ".join((Path(__file__).parent.parent / document).read_text().split()):
            found.append(f"{document} does not say that a stack's name has {documented} ({because})")
    print("\n".join(found) or f"within the limits; a stack's name has {documented} ({because})")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
