"""Draw the dashboard of template.yaml with the metrics of an invented week, or check that docs/dashboard.svg is this drawing.

usage: dashboard.py [--write]

The widgets, their places, titles, metrics, expressions and alarms are those of the template's DashboardBody. The values are
samples: CloudWatch alone could draw real ones. A widget, a metric or an expression that this script does not know is an error, so
that the picture cannot leave one out.
"""

import json
import math
import random
import re
import sys
from html import escape
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/dashboard.svg"
HOURS = 7 * 24
DAYS = ["Fri", "Sat", "Sun", "Mon", "Tue", "Wed", "Thu"]
WEEKEND = (1, 2)

# A column of CloudWatch's grid of 24, and a row, in pixels.
COLUMN, ROW, GAP = 40, 34, 8
COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"]

# An agent has been broken for these hours, and this alarm has gone off.
BROKEN = range(HOURS - 6, HOURS)
ALARM = "FailedExecutionsAlarm"

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="title desc" font-family="ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="11">
  <title id="title">The dashboard of a stack, with an invented week</title>
  <desc id="desc">{desc}</desc>
  <style>
    .page {{ fill: #eef1f4; }}
    .widget {{ fill: #ffffff; stroke: #d0d7de; }}
    .grid {{ stroke: #d8dee4; stroke-width: 1; }}
    .line {{ fill: none; stroke-width: 1.6; stroke-linejoin: round; }}
    .area {{ fill-opacity: .55; stroke: none; }}
    .ok {{ fill: #dafbe1; stroke: #1a7f37; }}
    .alarm {{ fill: #ffebe9; stroke: #cf222e; }}
    text {{ fill: #1f2328; }}
    .small {{ fill: #57606a; }}
    .strong {{ font-weight: 600; font-size: 12px; }}
    @media (prefers-color-scheme: dark) {{
      .page {{ fill: #010409; }}
      .widget {{ fill: #0d1117; stroke: #30363d; }}
      .grid {{ stroke: #262c33; }}
      .ok {{ fill: #033a16; stroke: #3fb950; }}
      .alarm {{ fill: #67060c; stroke: #f85149; }}
      text {{ fill: #e6edf3; }}
      .small {{ fill: #9198a1; }}
    }}
  </style>
  <rect class="page" width="{width}" height="{height}"/>
"""


def hourly(name, usual, broken=None, rest=0.15):
    """Return a value for each hour of the week: more by day than by night, less at the weekend, another in the bad hours."""
    chance = random.Random(name)
    values = []
    for hour in range(HOURS):
        day = (1 + math.sin((hour % 24 - 7) / 24 * 2 * math.pi)) / 2
        weekend = 0.35 if hour // 24 in WEEKEND else 1
        level = usual * (rest + (1 - rest) * day) * weekend * (0.8 + 0.4 * chance.random())
        values.append(broken * (0.8 + 0.4 * chance.random()) if broken is not None and hour in BROKEN else level)
    return values


def level(name, usual, broken=None):
    """Return a value for each hour that hardly depends on the time of the day, such as a percentile."""
    chance = random.Random(name)
    return [
        (broken if broken is not None and hour in BROKEN else usual) * (0.85 + 0.3 * chance.random()) for hour in range(HOURS)
    ]


def seldom(name, share, most=2):
    chance = random.Random(name)
    return [1 + chance.randrange(most) if chance.random() < share else 0 for _ in range(HOURS)]


# The samples: by the metric and the statistic, or by the metric and the value of the dimension that a search finds.
SAMPLES = {
    ("Completed", "Sum"): hourly("completed", 62, 30),
    ("Failed", "Sum"): hourly("failed", 0.8, 26, 0),
    ("Skipped", "Sum"): hourly("skipped", 5),
    ("Cancelled", "Sum"): seldom("cancelled", 0.1),
    ("DurationMs", "p50"): level("p50", 21_000),
    ("DurationMs", "p90"): level("p90", 74_000, 120_000),
    ("DurationMs", "p99"): level("p99", 190_000, 260_000),
    ("FirstEventMs", "p50"): level("first50", 900),
    ("FirstEventMs", "p99"): level("first99", 3_400, 5_600),
    ("TokenMs", "p99"): level("token", 420),
    ("ClaimMs", "p99"): level("claim", 24),
    ("InputTokens", "Sum"): hourly("read", 410_000),
    ("OutputTokens", "Sum"): hourly("written", 52_000),
    ("Duplicates", "Sum"): seldom("duplicates", 0.12),
    ("Overlaps", "Sum"): seldom("overlaps", 0.08),
    ("HeartbeatFailures", "Sum"): seldom("heartbeats", 0.02),
    ("ColdStart", "Sum"): hourly("cold", 5),
}
FOUND = {
    ("errorType", "Failed"): {
        "AgentFailed": hourly("agent failed", 0.5, 4, 0),
        "AgentUnavailable": hourly("agent unavailable", 0.1, 21, 0),
        "StreamStalled": hourly("stalled", 0.2, None, 0),
    },
    ("protocol", "Completed"): {
        "strands": hourly("strands", 38, 8),
        "ag-ui": hourly("ag-ui", 17, 15),
        "generic": hourly("own words", 7, 7),
    },
    ("protocol", "Failed"): {"strands": hourly("strands failed", 0.6, 25, 0)},
}
ROWS = [
    ("2026-11-26 23:52:07", "import-orders", "01a21a46…2a5e2c03", "AgentUnavailable", "the agent is unavailable: the agent answered 503 …"),
    ("2026-11-26 23:47:41", "import-orders", "01a21a41…0fa91b14", "AgentUnavailable", "the agent is unavailable: the agent answered 503 …"),
    ("2026-11-26 23:40:02", "check-invoices", "01a21a3a…9c77d0f2", "AgentFailed", "the agent reported an error"),
    ("2026-11-26 23:31:55", "import-orders", "01a21a33…b81c3e98", "AgentUnavailable", "the agent is unavailable: the agent answered 503 …"),
    ("2026-11-26 23:20:16", "import-orders", "01a21a28…44e04b5a", "AgentUnavailable", "the agent is unavailable: the agent answered 503 …"),
]

SEARCH = re.compile(r"SEARCH\('\{AgentTrigger,service,(\w+)\} MetricName=\"(\w+)\" service=\"FUNCTION\"', 'Sum', 3600\)")
LABEL = re.compile(r"\$\{PROP\('Dim\.\w+'\)\}")


def unknown(what):
    sys.exit(f"FAILED: .ci/dashboard.py has no sample for {what}")


def series_of(widget):
    """Return what a widget of metrics shows: for each series its label, its color if it has one, and its values."""
    period, stat, hidden, shown = widget["period"], widget["stat"], {}, []
    for metric in widget["metrics"]:
        options = metric[-1] if isinstance(metric[-1], dict) else {}
        if "expression" not in options:
            namespace, name, dimension, service = metric[:4]
            if (namespace, dimension, service) != ("AgentTrigger", "service", "FUNCTION"):
                unknown(metric)
            values = SAMPLES.get((name, options.get("stat", stat))) or unknown(metric)
            if options.get("visible", True):
                shown.append((options.get("label", name), options.get("color"), values))
            else:
                hidden[options["id"]] = values
        elif filled := re.fullmatch(r"FILL\((\w+), 0\)", options["expression"]):
            shown.append((options["label"], options.get("color"), hidden[filled[1]]))
        elif search := SEARCH.fullmatch(options["expression"]):
            for value, values in (FOUND.get((search[1], search[2])) or unknown(metric)).items():
                shown.append((LABEL.sub(value, options["label"]), None, values))
        else:
            unknown(metric)
    step = period // 3600
    return [
        (label, color, [sum(values[n : n + step]) for n in range(0, HOURS, step)]) for label, color, values in shown
    ]


def ceiling(value):
    """Return the least of 1, 2, 4, 5 or 8 times a power of ten that is not below the value."""
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def short(value):
    for unit, factor in (("M", 1_000_000), ("k", 1000)):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def text(x, y, words, kind="", anchor=""):
    kind = kind and f' class="{kind}"'
    anchor = anchor and f' text-anchor="{anchor}"'
    return f'  <text x="{x:g}" y="{y:g}"{kind}{anchor}>{escape(words)}</text>'


def graph(widget, x, y, width, height):
    series, stacked = series_of(widget), widget["stacked"]
    left, right, top, bottom = x + 58, x + width - 14, y + 38, y + height - 44
    totals = [sum(column) for column in zip(*(values for _, _, values in series))]
    most = ceiling(max(totals if stacked else (max(values) for _, _, values in series)))

    def point(index, value):
        across = left + (right - left) * index / (len(totals) - 1)
        return f"{across:.0f} {bottom - (bottom - top) * value / most:.0f}"

    for part in (0, 0.5, 1):
        line = bottom - (bottom - top) * part
        yield f'  <path class="grid" d="M{left} {line:g}H{right}"/>'
        unit = widget.get("yAxis", {}).get("left", {}).get("label", "") if part == 1 else ""
        yield text(left - 6, line + 4, f"{short(most * part)} {unit}".strip(), "small", "end")
    for day, name in enumerate(DAYS):
        yield text(left + (right - left) * (day + 0.5) / len(DAYS), bottom + 14, name, "small", "middle")
    floor = [0] * len(totals)
    at = left
    for number, (label, color, values) in enumerate(series):
        color = color or COLORS[number % len(COLORS)]
        upper = [low + value for low, value in zip(floor, values)] if stacked else values
        edge = "L".join(point(n, value) for n, value in enumerate(upper))
        if stacked:
            back = "L".join(point(n, value) for n, value in reversed(list(enumerate(floor))))
            yield f'  <path class="area" fill="{color}" d="M{edge}L{back}Z"/>'
            floor = upper
        yield f'  <path class="line" stroke="{color}" d="M{edge}"/>'
        yield f'  <rect x="{at:g}" y="{bottom + 25:g}" width="10" height="10" fill="{color}"/>'
        yield text(at + 14, bottom + 34, label)
        at += 28 + 6.2 * len(label)


def alarms(widget, x, y, width, height):
    columns = 5
    across, down = (width - 28) / columns, (height - 42) / math.ceil(len(widget["alarms"]) / columns)
    for number, name in enumerate(widget["alarms"]):
        left, top = x + 14 + across * (number % columns), y + 34 + down * (number // columns)
        kind = "alarm" if name == ALARM else "ok"
        yield f'  <rect class="{kind}" x="{left:g}" y="{top:g}" width="{across - 6:g}" height="{down - 4:g}" rx="3"/>'
        yield text(left + 6, top + down / 2 + 2, name)


def table(widget, x, y, width, height):
    fields = re.search(r"\| fields (.*?) \|", widget["query"])[1].split(", ")
    if len(fields) != len(ROWS[0]):
        unknown(widget["query"])
    for number, (cells, kind) in enumerate([(fields, "small"), *((row, "") for row in ROWS)]):
        down = y + 52 + 26 * number
        yield f'  <path class="grid" d="M{x + 14} {down + 8}H{x + width - 14}"/>'
        for cell, at in zip(cells, (14, 164, 314, 464, 634)):
            yield text(x + at, down, cell, kind)


DRAWN = {"metric": graph, "alarm": alarms, "log": table}


def drawn():
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    names = {"AgentTriggerFunction": "FUNCTION"}
    body = re.sub(r"\$\{([A-Za-z:]+)(?:\.Arn)?\}", lambda found: names.get(found[1], found[1]), body)
    widgets = json.loads(body.replace("${!", "${"))["widgets"]
    if ALARM not in resources:
        unknown(ALARM)
    titles = ", ".join(widget["properties"]["title"] for widget in widgets)
    width = COLUMN * 24 + GAP
    height = ROW * max(widget["y"] + widget["height"] for widget in widgets) + GAP
    lines = [HEAD.format(width=width, height=height, desc=escape(f"The widgets: {titles}. The values are samples."))]
    for widget in widgets:
        draw = DRAWN.get(widget["type"]) or unknown(widget["type"])
        x, y = widget["x"] * COLUMN + GAP, widget["y"] * ROW + GAP
        across, down = widget["width"] * COLUMN - GAP, widget["height"] * ROW - GAP
        lines.append(f'  <rect class="widget" x="{x}" y="{y}" width="{across}" height="{down}" rx="6"/>')
        lines.append(text(x + 14, y + 22, widget["properties"]["title"], "strong"))
        lines += draw(widget["properties"], x, y, across, down)
    return "\n".join(lines) + "\n</svg>\n", len(widgets)


def main():
    picture, count = drawn()
    if sys.argv[1:] == ["--write"]:
        PICTURE.write_text(picture)
    if not PICTURE.is_file() or PICTURE.read_text() != picture:
        sys.exit("FAILED: docs/dashboard.svg is not the dashboard of template.yaml; run .ci/dashboard.py --write")
    print(f"docs/dashboard.svg shows the {count} widgets of the dashboard")


if __name__ == "__main__":
    main()
