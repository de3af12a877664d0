"""Deploy the packaged template into moto, an emulator of AWS, look at what was made, and delete it.

usage: emulator.py TEMPLATE.json

moto's CloudFormation makes a third of the template's types of resources by itself. The others are made here, by the API of
their service, which moto has: with the properties that CloudFormation would pass on, and checked as the SDK and moto check
them. docs/deploy.md says what this shows and what it cannot.
"""

import io
import json
import os
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")

import boto3
import moto.cloudformation.parsing as parsing
from moto import mock_aws
from moto.core.common_models import CloudFormationModel

STACK = "agent-trigger"
ACCOUNT = "123456789012"
# With these every optional part is made. What is ENABLED or DISABLED is enabled besides.
PARAMETERS = {
    "AgentApiUrl": "https://agent.example.com",
    "AgentsTableName": "agents",
    "AgentParameterPath": "/agents/",
    "AgentRuntimeArns": f"arn:aws:bedrock-agentcore:us-east-1:{ACCOUNT}:runtime/a",
    "NotificationEmail": "team@example.com",
    "S3BucketName": "uploads",
    "AlarmNamePrefix": "orders-",
    "CapacityProviderArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:capacity-provider:own",
    "EventBusName": "orders",
    "EventSource": "com.example.orders",
    "ApiAllowedOrigins": "https://app.example.com",
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
}


def client(service):
    return boto3.client(service)


def fitted(value, shape):
    """Return a property as the API takes it: with its spelling of names, numbers that CloudFormation got as texts, and
    documents as JSON. A property that the API does not know stays, so that the SDK refuses it."""
    if shape.type_name == "structure" and isinstance(value, dict):
        spelt = {name.lower(): name for name in shape.members}
        names = {name: spelt.get(name.lower(), name) for name in value}
        return {
            names[name]: fitted(part, shape.members[names[name]]) if names[name] in shape.members else part
            for name, part in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [fitted(part, shape.member) for part in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {name: fitted(part, shape.value) for name, part in value.items()}
    if shape.type_name == "string":
        return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    if shape.type_name == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    return value


def call(service, operation, properties):
    api = client(service)
    shape = api.meta.service_model.operation_model(api.meta.method_to_api_mapping[operation]).input_shape
    return getattr(api, operation)(**fitted(properties, shape))


class Made(CloudFormationModel):
    """A resource that moto's CloudFormation does not know."""

    # moto reads the service from it.
    __module__ = "moto.cloudformation.models"
    # The call that deletes it: the service, the operation and the names.
    undo = None

    def __init__(self, identity, attributes):
        self.identity, self.attributes = identity, attributes

    physical_resource_id = property(lambda self: self.identity)

    @classmethod
    def has_cfn_attr(cls, attr):
        return True

    def get_cfn_attribute(self, name):
        return self.attributes[name]

    def is_created(self):
        return True

    @staticmethod
    def cloudformation_name_type():
        return ""

    @staticmethod
    def cloudformation_type():
        return ""

    @classmethod
    def create_from_cloudformation_json(cls, name, resource, account_id, region_name, **kwargs):
        properties = dict(resource["Properties"])
        made, deletion = cls.make(name, properties)
        made.undo = deletion
        MADE[kwargs["LogicalId"]] = made
        return made

    @classmethod
    def make(cls, name, properties):
        raise NotImplementedError


# The resources that were made here, by their logical ids.
MADE = {}


def answered(service, operation, properties, identity=None, attributes=None, undo=None):
    answer = call(service, operation, properties)
    names = attributes(answer) if attributes else {}
    key = identity(answer) if callable(identity) else identity
    return Made(key, names), undo(key) if undo else None


def policies(service, operation, targets, key):
    """Make a policy of several queues or topics."""

    def make(name, p):
        for target in p[targets]:
            more = {"Attributes": {"Policy": json.dumps(p["PolicyDocument"])}}
            if service == "sns":
                more = {"AttributeName": "Policy", "AttributeValue": json.dumps(p["PolicyDocument"])}
            call(service, operation, {key: target} | more)
        return Made(name, {}), None

    return make


def subscription(name, p):
    given = {key: p[key] for key in ("TopicArn", "Protocol", "Endpoint")}
    attributes = {}
    if "RawMessageDelivery" in p:
        attributes["RawMessageDelivery"] = str(p["RawMessageDelivery"]).lower()
    if "RedrivePolicy" in p:
        attributes["RedrivePolicy"] = json.dumps(p["RedrivePolicy"])
    unknown = set(p) - set(given) - set(attributes)
    assert not unknown, unknown
    answer = client("sns").subscribe(**given, Attributes=attributes, ReturnSubscriptionArn=True)
    arn = answer["SubscriptionArn"]
    return Made(arn, {}), ("sns", "unsubscribe", {"SubscriptionArn": arn})


def alarm(name, p):
    properties = {"AlarmName": name} | p
    arn = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{properties['AlarmName']}"
    made, _ = answered("cloudwatch", "put_metric_alarm", properties, properties["AlarmName"], lambda _: {"Arn": arn})
    return made, ("cloudwatch", "delete_alarms", {"AlarmNames": [name]})


def pipe(name, p):
    attributes = lambda answer: {"Arn": answer["Arn"]}
    return answered(
        "pipes",
        "create_pipe",
        {"Name": name[:64]} | p,
        name[:64],
        attributes,
        lambda key: ("pipes", "delete_pipe", {"Name": key}),
    )


def schedule(name, p):
    properties = {"Name": name[:64]} | p
    undo = ("scheduler", "delete_schedule", {"Name": properties["Name"], "GroupName": p["GroupName"]})
    return answered("scheduler", "create_schedule", properties, properties["Name"])[0], undo


def gateway(part, key):
    """Make a part of an HTTP API."""

    def make(name, p):
        made, _ = answered("apigatewayv2", f"create_{part}", p, lambda answer: answer[key])
        undo = {"ApiId": p["ApiId"], key: made.identity} if part != "api" else {"ApiId": made.identity}
        return made, ("apigatewayv2", f"delete_{part}", undo)

    return make


def pool(name, p):
    properties = {"PoolName": p.pop("UserPoolName")} | p
    inside = lambda answer: answer["UserPool"]
    attributes = lambda answer: {"Arn": inside(answer)["Arn"]}
    return answered(
        "cognito-idp",
        "create_user_pool",
        properties,
        lambda a: inside(a)["Id"],
        attributes,
        lambda key: ("cognito-idp", "delete_user_pool", {"UserPoolId": key}),
    )


def pool_client(name, p):
    made, _ = answered("cognito-idp", "create_user_pool_client", p, lambda answer: answer["UserPoolClient"]["ClientId"])
    return made, ("cognito-idp", "delete_user_pool_client", {"UserPoolId": p["UserPoolId"], "ClientId": made.identity})


MAKERS = {
    "AWS::ApiGatewayV2::Api": gateway("api", "ApiId"),
    "AWS::ApiGatewayV2::Authorizer": gateway("authorizer", "AuthorizerId"),
    "AWS::ApiGatewayV2::Integration": gateway("integration", "IntegrationId"),
    "AWS::ApiGatewayV2::Route": gateway("route", "RouteId"),
    "AWS::ApiGatewayV2::Stage": gateway("stage", "StageName"),
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::Cognito::UserPool": pool,
    "AWS::Cognito::UserPoolClient": pool_client,
    "AWS::Cognito::UserPoolDomain": lambda name, p: answered(
        "cognito-idp",
        "create_user_pool_domain",
        p,
        p["Domain"],
        undo=lambda _: ("cognito-idp", "delete_user_pool_domain", p),
    ),
    "AWS::Cognito::UserPoolResourceServer": lambda name, p: answered(
        # moto cannot delete one; it goes with its pool.
        "cognito-idp",
        "create_resource_server",
        p,
        p["Identifier"],
    ),
    # moto's own has no id to which a Ref could refer.
    "AWS::Events::EventBus": lambda name, p: answered(
        "events",
        "create_event_bus",
        p,
        p["Name"],
        lambda answer: {"Arn": answer["EventBusArn"]},
        lambda key: ("events", "delete_event_bus", {"Name": key}),
    ),
    "AWS::IAM::RolePolicy": lambda name, p: answered(
        "iam",
        "put_role_policy",
        p,
        p["PolicyName"],
        undo=lambda _: ("iam", "delete_role_policy", {k: p[k] for k in ("RoleName", "PolicyName")}),
    ),
    "AWS::Lambda::EventInvokeConfig": lambda name, p: answered(
        "lambda",
        "put_function_event_invoke_config",
        p,
        name,
        undo=lambda _: ("lambda", "delete_function_event_invoke_config", {"FunctionName": p["FunctionName"]}),
    ),
    "AWS::Lambda::Url": lambda name, p: answered(
        "lambda",
        "create_function_url_config",
        {"FunctionName": p.pop("TargetFunctionArn")} | p,
        lambda answer: answer["FunctionArn"],
        lambda answer: {"FunctionUrl": answer["FunctionUrl"], "FunctionArn": answer["FunctionArn"]},
        lambda key: ("lambda", "delete_function_url_config", {"FunctionName": key}),
    ),
    "AWS::Logs::MetricFilter": lambda name, p: answered(
        "logs",
        "put_metric_filter",
        {"filterName": name} | p,
        name,
        undo=lambda _: ("logs", "delete_metric_filter", {"logGroupName": p["LogGroupName"], "filterName": name}),
    ),
    "AWS::Pipes::Pipe": pipe,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::TopicPolicy": policies("sns", "set_topic_attributes", "Topics", "TopicArn"),
    "AWS::SQS::QueuePolicy": policies("sqs", "set_queue_attributes", "Queues", "QueueUrl"),
    "AWS::Scheduler::Schedule": schedule,
    "AWS::Scheduler::ScheduleGroup": lambda name, p: answered(
        "scheduler",
        "create_schedule_group",
        p,
        p["Name"],
        lambda answer: {"Arn": answer["ScheduleGroupArn"]},
        lambda key: ("scheduler", "delete_schedule_group", {"Name": key}),
    ),
}


def register(kinds):
    known = {model.cloudformation_type() for model in CloudFormationModel.__subclasses__()}
    own = sorted(kinds - known | kinds & set(MAKERS))
    for kind in own:
        maker = MAKERS[kind]
        # moto finds direct subclasses alone.
        members = {name: member for name, member in vars(Made).items() if name not in ("__dict__", "__weakref__")}
        model = type(CloudFormationModel)(kind.replace("::", ""), (CloudFormationModel,), members)
        model.cloudformation_type = staticmethod(lambda kind=kind: kind)
        model.make = classmethod(lambda cls, name, properties, maker=maker: maker(name, properties))
    parsing.get_model_map.cache_clear()
    return own


def given(template):
    """Return the parameters of the stack."""
    switches = [n for n, p in template["Parameters"].items() if p.get("AllowedValues") == ["ENABLED", "DISABLED"]]
    return PARAMETERS | dict.fromkeys(switches, "ENABLED")


def deploy(template):
    bucket, code = "code", io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "")
    client("s3").create_bucket(Bucket=bucket)
    client("s3").put_object(Bucket=bucket, Key="code.zip", Body=code.getvalue())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = {"S3Bucket": bucket, "S3Key": "code.zip"}
    # Larger than a request may be, so it is in a bucket, as `sam deploy` puts it there.
    client("s3").put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template))
    client("events").create_event_bus(Name=PARAMETERS["EventBusName"])
    client("cloudformation").create_stack(
        StackName=STACK,
        TemplateURL=f"https://{bucket}.s3.amazonaws.com/template.json",
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given(template).items()],
    )


def pages(service, operation, member, **given):
    return [item for page in client(service).get_paginator(operation).paginate(**given) for item in page[member]]


def problems(template):
    """Yield where what the services have differs from the template."""
    stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        yield f"the stack is {stack['StackStatus']}"
    made = {
        r["LogicalResourceId"]
        for r in pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=STACK)
    }
    for name in sorted(set(template["Resources"]) - made):
        yield f"{name} is not made: is there a parameter for it in PARAMETERS?"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    for name in template["Outputs"]:
        value = outputs.get(name)
        if not value or "${" in str(value) or "{'" in str(value):
            yield f"the output {name} is {value!r}"
    count = Counter(resource["Type"] for resource in template["Resources"].values())
    has = {
        "AWS::SQS::Queue": len(client("sqs").list_queues()["QueueUrls"]),
        "AWS::SNS::Topic": len(pages("sns", "list_topics", "Topics")),
        "AWS::SNS::Subscription": len(pages("sns", "list_subscriptions", "Subscriptions")),
        "AWS::CloudWatch::Alarm": len(pages("cloudwatch", "describe_alarms", "MetricAlarms")),
        "AWS::IAM::Role": len(pages("iam", "list_roles", "Roles")),
        "AWS::Lambda::Function": len(pages("lambda", "list_functions", "Functions")),
        "AWS::Pipes::Pipe": len(client("pipes").list_pipes()["Pipes"]),
        "AWS::Scheduler::Schedule": len(client("scheduler").list_schedules(GroupName=STACK)["Schedules"]),
        "AWS::Logs::LogGroup": len(pages("logs", "describe_log_groups", "logGroups")),
        "AWS::ApiGatewayV2::Route": len(client("apigatewayv2").get_routes(ApiId=MADE["ManageApi"].identity)["Items"]),
    }
    buses = [bus["Name"] for bus in client("events").list_event_buses()["EventBuses"]]
    rules = [rule for bus in buses for rule in client("events").list_rules(EventBusName=bus)["Rules"]]
    has["AWS::Events::Rule"] = len(rules)
    for kind, number in has.items():
        if number != count[kind]:
            yield f"there are {number} {kind} instead of {count[kind]}"
    table = client("dynamodb").describe_table(TableName=outputs["TableName"])["Table"]
    if (
        table["StreamSpecification"]["StreamViewType"] != "NEW_AND_OLD_IMAGES"
        or len(table["GlobalSecondaryIndexes"]) != 1
    ):
        yield "the table has another stream or other indexes"
    settings = client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])["Environment"][
        "Variables"
    ]
    for name, wanted in {
        "AGENT_API_URL": PARAMETERS["AgentApiUrl"],
        "TRIGGERS_TABLE_NAME": outputs["TableName"],
        "COGNITO_USER_POOL_ID": outputs["UserPoolId"],
    }.items():
        if settings.get(name) != wanted:
            yield f"the function's {name} is {settings.get(name)!r}"
    for rule in rules:
        targets = client("events").list_targets_by_rule(Rule=rule["Name"], EventBusName=rule["EventBusName"])["Targets"]
        for target in targets:
            if "DeadLetterConfig" not in target:
                yield f"{rule['Name']} lost its dead-letter queue"


def undo():
    """Delete what was made here, the newest first, as CloudFormation deletes before what it depends on."""
    for name, made in reversed(list(MADE.items())):
        if made.undo:
            service, operation, names = made.undo
            getattr(client(service), operation)(**names)


def left():
    """Yield what is still there after the deletion. moto deletes the table too: it does not know DeletionPolicy."""
    for what, found in {
        "queues": client("sqs").list_queues().get("QueueUrls", []),
        "topics": pages("sns", "list_topics", "Topics"),
        "roles": pages("iam", "list_roles", "Roles"),
        "functions": pages("lambda", "list_functions", "Functions"),
        "log groups": pages("logs", "describe_log_groups", "logGroups"),
        "alarms": pages("cloudwatch", "describe_alarms", "MetricAlarms"),
        "pipes": client("pipes").list_pipes()["Pipes"],
        "user pools": client("cognito-idp").list_user_pools(MaxResults=10)["UserPools"],
        "HTTP APIs": client("apigatewayv2").get_apis()["Items"],
        "tables": client("dynamodb").list_tables()["TableNames"],
        "event buses": [b["Name"] for b in client("events").list_event_buses()["EventBuses"] if b["Name"] == STACK],
    }.items():
        if found:
            yield f"{len(found)} {what} are left after the deletion"


def main():
    template = json.loads(Path(sys.argv[1]).read_text())
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    own = register(kinds)
    with mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deploy(template)
        found = list(problems(template))
        undo()
        client("cloudformation").delete_stack(StackName=STACK)
        found += left()
    number = len(template["Resources"])
    made = f"moto: {number} resources of {len(kinds)} types are made and deleted"
    print("\n".join(found) or f"{made}; {len(own)} types through their services' own APIs")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
