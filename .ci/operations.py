"""Check what tells people of the function: metrics, alarms, the dashboard, the texts of notifications, the runbook."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

NAMESPACE = "AgentTrigger"

# The sets of dimensions that the function's metrics have, as its source names them; a failure is kept by type too.
DIMENSIONS = [{"service"}, {"service", "agent"}, {"service", "trigger"}]
FAILURE_DIMENSIONS = {"service", "errorType"}

# AWS's own metrics that are looked at, by the dimensions that each is kept under.
AWS_METRICS = {
    "AWS/EventBridge/Pipes": ({"PipeName"}, {"ExecutionFailed"}),
    "AWS/Lambda": ({"FunctionName"}, {"DestinationDeliveryFailures", "Duration", "Errors", "Throttles"}),
    "AWS/SNS": ({"TopicName"}, {"NumberOfNotificationsFailed"}),
    "AWS/SQS": ({"QueueName"}, {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}),
}

SEARCH = re.compile(r"SEARCH\('\{([^}]*)\} MetricName=\"(\w+)\" ([^']*)', '\w+', \d+\)")


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def substituted(template, value):
    """A string with what Fn::Sub puts into it: a parameter's default, or the name of what a resource gives."""
    text = value["Fn::Sub"] if isinstance(value, dict) else value
    known = {"AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::StackName": "agent-trigger"}
    known |= {name: str(p.get("Default", "")) for name, p in template["Parameters"].items()}

    def stand_in(match):
        name = match[1]
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        if name in known:
            return known[name]
        if name.split(".")[0] in template["Resources"]:
            return name
        raise ValueError(f"${{{name}}} is nothing of this template")

    return re.sub(r"\$\{([^}]*)\}", stand_in, text)


def source_of_metrics():
    path = ROOT / "src" / "telemetry" / "metrics.rs"
    return path.read_text() if path.exists() else None


def emitted(source):
    """The names in the table METRICS of the function's source: the first string of each entry, in any form."""
    table = re.search(r"const METRICS\b[^=]*=\s*&?\[(.*?)\];", source, re.S)
    if not table:
        return set()
    return set(re.findall(r'[({]\s*(?:name:\s*)?"(\w+)"', table[1]) or re.findall(r'"(\w+)"', table[1]))


def metric_problems(where, namespace, name, dimensions, source):
    """What is wrong with a metric that is looked at, if anything."""
    if namespace in AWS_METRICS:
        wanted, names = AWS_METRICS[namespace]
        if name not in names or dimensions != wanted:
            yield f"{where}: {namespace} is not known to keep {name} by {sorted(dimensions)}"
        return
    if namespace != NAMESPACE:
        yield f"{where}: nobody keeps metrics in {namespace}"
        return
    if dimensions not in DIMENSIONS and not (name == "Failed" and dimensions == FAILURE_DIMENSIONS):
        yield f"{where}: {name} is not kept by {sorted(dimensions)}"
    if source is None:
        return
    if name not in emitted(source):
        yield f"{where}: {name} is not in the METRICS of src/telemetry/metrics.rs"
    for dimension in sorted(dimensions):
        if f'"{dimension}"' not in source:
            yield f"{where}: src/telemetry/metrics.rs does not name the dimension {dimension}"


def alarm_problems(template, source):
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        dimensions = {d["Name"] for d in alarm["Dimensions"]}
        yield from metric_problems(name, alarm["Namespace"], alarm["MetricName"], dimensions, source)
        if not alarm["AlarmDescription"].endswith(f" RUNBOOK.md, {name}."):
            yield f"{name}: its description does not end with where the runbook tells what to do"
        if len(alarm["AlarmDescription"]) > 1024:
            yield f"{name}: its description has over 1024 characters"


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
                yield f"{where}: what is {expression}?"
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
                yield f"{where}: no widget is a {widget['type']}"
            if widget["type"] != "alarm" and properties.get("region") != "us-east-1":
                yield f"{where}: it is not of the stack's region"
            rows = range(widget["y"], widget["y"] + widget["height"])
            cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"]) for y in rows}
            if cells & taken or max(x for x, _ in cells) >= 24:
                yield f"{where}: it does not fit in its place"
            taken |= cells
            shown |= set(properties.get("alarms", []))
            yield from widget_problems(where, widget, source)
        for alarm in sorted({f"{alarm}.Arn" for alarm in of_type(template, "AWS::CloudWatch::Alarm")} ^ shown):
            yield f"{name}: {alarm} is not both an alarm and shown as one"


def sample_of(detail_type):
    """The event of this detail-type in events/."""
    path = ROOT / "events" / f"{detail_type.lower().replace(' ', '-')}.json"
    return json.loads(path.read_text())


def texts(template):
    """The rules that tell people something: the rule's name, a sample of its event, the variables, and the text."""
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        for target in rule["Targets"]:
            if "InputTransformer" in target:
                transformer = target["InputTransformer"]
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
                yield f"{name}: {path} is nothing of the event"
        for line in text.split("\n"):
            try:
                line = json.loads(line)
            except ValueError:
                line = None
            if not isinstance(line, str):
                yield f"{name}: not every line is in quotation marks of its own"
        for heading in re.findall(r"RUNBOOK\.md, ([^<.,]+)", text):
            if heading not in headings:
                yield f"{name}: RUNBOOK.md has no heading '{heading}'"


def named_by(file, kind):
    """What a Rust enum's `as_str` says of its variants."""
    body = re.search(rf"impl {kind} \{{(.*?)\n\}}", (ROOT / "src" / file).read_text(), re.S)[1]
    return re.findall(r'Self::\w+ => "(\w+)"', body)


def runbook_problems(template, headings):
    wanted = [*of_type(template, "AWS::CloudWatch::Alarm")]
    wanted += named_by("error.rs", "ErrorType") + named_by("record.rs", "SkipReason")
    for heading in wanted:
        if heading not in headings:
            yield f"RUNBOOK.md has no heading '{heading}'"


def problems(template):
    source = source_of_metrics()
    headings = set(re.findall(r"^#+ (.*)$", (ROOT / "RUNBOOK.md").read_text(), re.M))
    yield from alarm_problems(template, source)
    yield from dashboard_problems(template, source)
    yield from text_problems(template, headings)
    yield from runbook_problems(template, headings)


def note():
    """What could not be looked at."""
    return None if source_of_metrics() else "note: without src/telemetry/metrics.rs nobody knows which metrics are emitted"
