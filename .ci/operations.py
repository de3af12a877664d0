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

# The metrics of AWS that the template uses, with the dimensions under which each is kept.
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
    """Return a string as Fn::Sub fills it in: with parameters' defaults, and with a resource's name for its values."""
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
        raise ValueError(f"${{{name}}} is not defined in this template")

    return re.sub(r"\$\{([^}]*)\}", stand_in, text)


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


def alarm_problems(template, source):
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        dimensions = {d["Name"] for d in alarm["Dimensions"]}
        yield from metric_problems(name, alarm["Namespace"], alarm["MetricName"], dimensions, source)
        if not alarm["AlarmDescription"].endswith(f" RUNBOOK.md, {name}."):
            yield f"{name}: its description does not end with its section of the runbook"
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
        for alarm in sorted({f"{alarm}.Arn" for alarm in of_type(template, "AWS::CloudWatch::Alarm")} ^ shown):
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
            if "InputPathsMap" in transformer:
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
        for heading in re.findall(r"RUNBOOK\.md, ([^<.,]+)", text):
            if heading not in headings:
                yield f"{name}: RUNBOOK.md has no heading '{heading}'"


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
    yield from dashboard_problems(template, source)
    yield from text_problems(template, headings)
    yield from runbook_problems(template, headings)


def note():
    """Return what could not be checked, if anything."""
    return None if source_of_metrics() else "note: without a table METRICS in src/ the emitted metrics are not known"
