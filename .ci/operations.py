"""Check everything that informs people about the function: metrics, alarms, dashboard, notifications, runbook."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

NAMESPACE = "AgentTrigger"

# The sets of dimensions that the function's metrics have, as its source names them. Some metrics have further ones.
DIMENSIONS = [{"service"}, {"service", "agent"}, {"service", "trigger"}]
FURTHER_DIMENSIONS = {
    "Completed": [{"service", "protocol"}],
    "Failed": [{"service", "errorType"}, {"service", "protocol"}],
}

# The metrics of AWS that the template uses, with the dimensions under which each is kept, and the page that says so.
AWS_METRICS = {
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-monitoring.html
    "AWS/EventBridge/Pipes": ({"PipeName"}, {"ExecutionFailed", "ExecutionThrottled", "Invocations"}),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": ({"FunctionName"}, {"DestinationDeliveryFailures", "Duration", "Errors", "Throttles"}),
    # https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
    "AWS/SNS": ({"TopicName"}, {"NumberOfNotificationsFailed"}),
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    "AWS/States": ({"StateMachineArn"}, {"ExecutionsFailed", "ExecutionsTimedOut"}),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": (
        {"QueueName"},
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent"},
    ),
}

# The attribute of each kind of resource that a dimension's value must be, as AWS keeps the metrics.
DIMENSION_VALUES = {
    "PipeName": ("AWS::Pipes::Pipe", None),
    "FunctionName": ("AWS::Lambda::Function", None),
    "service": ("AWS::Lambda::Function", None),
    "TopicName": ("AWS::SNS::Topic", "TopicName"),
    "QueueName": ("AWS::SQS::Queue", "QueueName"),
    "StateMachineArn": ("AWS::StepFunctions::StateMachine", None),
}

SEARCH = re.compile(r"SEARCH\('\{([^}]*)\} MetricName=\"(\w+)\" ([^']*)', '\w+', \d+\)")


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def substituted(template, value):
    """Return a string as Fn::Sub fills it in: with parameters' defaults, and with a resource's name for its values."""
    text = value["Fn::Sub"] if isinstance(value, dict) else value
    own = {}
    if isinstance(text, list):
        text, own = text
    known = {"AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::StackName": "agent-trigger"}
    known |= {name: str(p.get("Default", "")) for name, p in template["Parameters"].items()}
    known |= {name: of_partition(template, value) for name, value in own.items()}

    def stand_in(match):
        name = match[1]
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        if name in known:
            return known[name]
        if name.split(".")[0] in template["Resources"]:
            return name
        raise ValueError(f"${{{name}}} is not defined in this template")

    return re.sub(r"\$\{([^}]*)\}", stand_in, text)


def of_partition(template, value):
    """Return the value of an Fn::FindInMap by the partition, in the partition `aws`."""
    table, key, name = value["Fn::FindInMap"]
    if key != {"Ref": "AWS::Partition"}:
        raise ValueError(f"{value} is not a value of the partition")
    return template["Mappings"][table]["aws"][name]


def source_of_metrics():
    """Return the source file that defines the table METRICS, if there is one."""
    found = [text for text in sources() if re.search(r"const METRICS\b", text)]
    return found[0] if found else None


def sources():
    return [path.read_text() for path in sorted((ROOT / "src").rglob("*.rs"))]


def emitted(source):
    """Return the names in the table METRICS of the function's source: the first string of each entry, in any form."""
    table = re.search(r"const METRICS\b[^=]*=\s*&?\[(.*?)\];", source, re.S)
    if not table:
        return set()
    return set(re.findall(r'[({]\s*(?:name:\s*)?"(\w+)"', table[1]) or re.findall(r'"(\w+)"', table[1]))


def anchor(heading):
    """Return the anchor of a heading, as GitHub and mdBook make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def filter_problems(template):
    """Yield a metric filter of log lines that the function does not write."""
    for name, given in of_type(template, "AWS::Logs::MetricFilter").items():
        message = re.fullmatch(r'\{ \$\.message = "([^"]+)" \}', given["FilterPattern"])
        if not message or not any(f'"{message[1]}"' in text for text in sources()):
            yield f"{name}: the function writes no line that it matches"


def filtered(template):
    """Return the metrics that filters make of log lines, each as its namespace and its name."""
    filters = of_type(template, "AWS::Logs::MetricFilter").values()
    return [(m["MetricNamespace"], m["MetricName"]) for f in filters for m in f["MetricTransformations"]]


def metric_problems(where, namespace, name, dimensions, source):
    """Yield the problems of a metric that an alarm or a widget uses."""
    if namespace in AWS_METRICS:
        wanted, names = AWS_METRICS[namespace]
        if name not in names or dimensions != wanted:
            yield f"{where}: {namespace} is not known to keep {name} by {sorted(dimensions)}"
        return
    if namespace != NAMESPACE:
        yield f"{where}: there are no metrics in {namespace}"
        return
    if dimensions not in DIMENSIONS + FURTHER_DIMENSIONS.get(name, []):
        yield f"{where}: {name} is not kept by {sorted(dimensions)}"
    if source is None:
        return
    if name not in emitted(source):
        yield f"{where}: {name} is not in the function's table METRICS"
    for dimension in sorted(dimensions):
        if f'"{dimension}"' not in source:
            yield f"{where}: the source of METRICS does not name the dimension {dimension}"


def alarm_metrics(alarm):
    """Return the metrics of an alarm: its only one, or those of its expression."""
    if "Metrics" not in alarm:
        return [alarm]
    return [part["MetricStat"]["Metric"] for part in alarm["Metrics"] if "MetricStat" in part]


def expression_problems(name, alarm):
    """Yield an expression of an alarm that names a metric the alarm does not have, or leaves one out."""
    parts = alarm.get("Metrics", [])
    ids = {part["Id"] for part in parts if "MetricStat" in part}
    expressions = [part for part in parts if "Expression" in part]
    if parts and [part.get("ReturnData") for part in expressions] != [True]:
        yield f"{name}: an alarm needs one expression, which returns its data"
    for part in expressions:
        text = part["Expression"]["Fn::Sub"] if isinstance(part["Expression"], dict) else part["Expression"]
        used = ids if "METRICS()" in text else set(re.findall(r"\b[a-z]\w*\b", text))
        if used != ids:
            yield f"{name}: the expression uses {sorted(used)} and the alarm has {sorted(ids)}"


def value_problems(template, name, metric):
    """Yield a dimension whose value is not the name of a resource of the right kind."""
    for dimension in metric["Dimensions"]:
        kind, attribute = DIMENSION_VALUES[dimension["Name"]]
        value = dimension["Value"]
        resource = value.get("Ref") if attribute is None else value.get("Fn::GetAtt", [None])[0]
        is_attribute = attribute is None or value.get("Fn::GetAtt", [None, None])[1] == attribute
        if resource not in of_type(template, kind) or not is_attribute:
            yield f"{name}: {value} is no value of the dimension {dimension['Name']}"


def alarm_problems(template, source):
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        yield from expression_problems(name, alarm)
        for metric in alarm_metrics(alarm):
            if (metric["Namespace"], metric["MetricName"]) in filtered(template) and not metric.get("Dimensions"):
                continue
            dimensions = {d["Name"] for d in metric["Dimensions"]}
            yield from metric_problems(name, metric["Namespace"], metric["MetricName"], dimensions, source)
            yield from value_problems(template, name, metric)
        if {"Ref": "AlarmTopic"} not in alarm.get("AlarmActions", []):
            yield f"{name}: nobody hears it"
        description = alarm["AlarmDescription"]
        text = description.get("Fn::Sub") if isinstance(description, dict) else None
        if not text or not text.endswith(f" ${{RunbookUrl}}#{anchor(name)}"):
            yield f"{name}: its description does not end with a link to its section of the runbook"
        elif len(text.replace("${RunbookUrl}", "")) + template["Parameters"]["RunbookUrl"]["MaxLength"] > 1024:
            yield f"{name}: its description has over 1024 characters"


# What each resource of a kind needs an alarm on: the metrics of which one must be watched.
WATCHED = {
    "AWS::SNS::Topic": [{"NumberOfNotificationsFailed"}],
    "AWS::SQS::Queue": [{"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}],
    "AWS::Pipes::Pipe": [{"ExecutionFailed"}, {"ExecutionThrottled"}],
    "AWS::StepFunctions::StateMachine": [{"ExecutionsFailed"}, {"ExecutionsTimedOut"}],
    "AWS::Lambda::Function": [{"Errors"}, {"Throttles"}, {"DestinationDeliveryFailures"}],
}


def unwatched_problems(template):
    """Yield a resource on which no alarm is."""
    watched = set()
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        for metric in alarm_metrics(alarm):
            for dimension in metric.get("Dimensions", []):
                value = dimension["Value"]
                watched.add((value.get("Ref") or value["Fn::GetAtt"][0], metric["MetricName"]))
    for kind, wanted in WATCHED.items():
        for name in of_type(template, kind):
            for metrics in wanted:
                # Nothing invokes these asynchronously but test deliveries of webhooks, of which a receipt tells.
                surfaces = ("ManageFunction", "HookFunction", "ReportsFunction")
                if name in surfaces and metrics == {"DestinationDeliveryFailures"}:
                    continue
                if not any((name, metric) in watched for metric in metrics):
                    yield f"{name}: no alarm on {' or '.join(sorted(metrics))}"


def widget_problems(where, widget, source):
    properties = widget["properties"]
    if widget["type"] == "log" and not properties["query"].startswith("SOURCE '"):
        yield f"{where}: its query names no log group"
    metrics = properties.get("metrics", [])
    if widget["type"] == "metric" and not metrics:
        yield f"{where}: it shows no metric"
    ids = {part["id"] for metric in metrics for part in metric if isinstance(part, dict) and "id" in part}
    for metric in metrics:
        if isinstance(metric[0], dict):
            expression = metric[0]["expression"]
            search, fill = SEARCH.fullmatch(expression), re.fullmatch(r"FILL\((\w+), 0\)", expression)
            if search:
                namespace, *dimensions = search[1].split(",")
                yield from metric_problems(where, namespace, search[2], set(dimensions), source)
            elif not fill or fill[1] not in ids:
                yield f"{where}: the expression {expression} is not understood"
        else:
            namespace, name, *dimensions = [part for part in metric if isinstance(part, str)]
            yield from metric_problems(where, namespace, name, set(dimensions[::2]), source)


def dashboard_problems(template, source):
    for name, dashboard in of_type(template, "AWS::CloudWatch::Dashboard").items():
        try:
            widgets = json.loads(substituted(template, dashboard["DashboardBody"]))["widgets"]
        except ValueError as error:
            yield f"{name}: {error}"
            continue
        taken, shown = set(), set()
        for widget in widgets:
            properties = widget["properties"]
            where = f"{name}, {properties['title']}"
            if widget["type"] not in {"alarm", "log", "metric"}:
                yield f"{where}: there is no widget type {widget['type']}"
            if widget["type"] != "alarm" and properties.get("region") != "us-east-1":
                yield f"{where}: its region is not the stack's"
            rows = range(widget["y"], widget["y"] + widget["height"])
            cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"]) for y in rows}
            if cells & taken or max(x for x, _ in cells) >= 24:
                yield f"{where}: it overlaps another widget or is too wide"
            taken |= cells
            shown |= set(properties.get("alarms", []))
            yield from widget_problems(where, widget, source)
        # The dashboard is always there, and cannot name what is deployed on a condition.
        alarms = of_type(template, "AWS::CloudWatch::Alarm")
        always = {name for name in alarms if "Condition" not in template["Resources"][name]}
        for alarm in sorted({f"{alarm}.Arn" for alarm in always} ^ shown):
            yield f"{name}: {alarm} is not both defined as an alarm and shown"


def sample_of(detail_type):
    """Return the sample of this detail-type in events/."""
    path = ROOT / "events" / f"{detail_type.lower().replace(' ', '-')}.json"
    return json.loads(path.read_text())


def texts(template):
    """Yield each rule that notifies people: its name, a sample of its event, the variables, and the text."""
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        for target in rule["Targets"]:
            # The transformers of the function's own rules mark an event and contain no text for people.
            transformer = target.get("InputTransformer", {})
            if "InputPathsMap" in transformer and target["Arn"].get("Ref") in of_type(template, "AWS::SNS::Topic"):
                text = substituted(template, transformer["InputTemplate"])
                sample = sample_of(rule["EventPattern"]["detail-type"][0])
                yield name, sample, transformer["InputPathsMap"], text


def text_problems(template, headings):
    for name, sample, paths, text in texts(template):
        if len(text) > 8192:
            yield f"{name}: its text has over 8192 characters"
        used = set(re.findall(r"<(\w+)>", text))
        for variable in sorted(used ^ set(paths)):
            yield f"{name}: {variable} is not both a path and in the text"
        for variable, path in paths.items():
            value = sample
            for member in path.removeprefix("$.").split("."):
                value = value.get(member) if isinstance(value, dict) else None
            if value is None:
                yield f"{name}: the event has no {path}"
        for line in text.split("\n"):
            try:
                line = json.loads(line)
            except ValueError:
                line = None
            if not isinstance(line, str):
                yield f"{name}: not every line is in quotation marks of its own"
        # The sample of a link is made with the parameter's default.
        for link in re.findall(r"RUNBOOK\.md#([\w-]+)", text):
            if link not in map(anchor, headings):
                yield f"{name}: RUNBOOK.md has no anchor '{link}'"
        if "RUNBOOK.md" not in text and "What to do: nothing." not in text:
            yield f"{name}: it does not name the runbook"


def variants(kind):
    """Return the variants of a Rust enum, whose names are also the words that records and messages use."""
    found = [re.search(rf"pub(?:\(crate\))? enum {kind} \{{(.*?)\n\}}", text, re.S) for text in sources()]
    bodies = [match[1] for match in found if match]
    if len(bodies) != 1:
        raise ValueError(f"src/ defines {len(bodies)} enums {kind}, not one")
    return re.findall(r"^    ([A-Z]\w*),$", bodies[0], re.M)


def runbook_problems(template, headings):
    wanted = [*of_type(template, "AWS::CloudWatch::Alarm")]
    wanted += variants("ErrorType") + variants("SkipReason")
    for heading in wanted:
        if heading not in headings:
            yield f"RUNBOOK.md has no heading '{heading}'"


def problems(template):
    source = source_of_metrics()
    headings = set(re.findall(r"^#+ (.*)$", (ROOT / "RUNBOOK.md").read_text(), re.M))
    yield from alarm_problems(template, source)
    yield from unwatched_problems(template)
    yield from filter_problems(template)
    yield from dashboard_problems(template, source)
    yield from text_problems(template, headings)
    yield from runbook_problems(template, headings)


def note():
    """Return what could not be checked, if anything."""
    return None if source_of_metrics() else "note: without a table METRICS in src/ the emitted metrics are not known"
