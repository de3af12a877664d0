"""What the browser test of the page needs: its API, its table, and the browser's own findings."""

import json
import random
import re
import threading
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

ENV = Path(__file__).parent.parent / ".local/env"


def link(process):
    for line in process.stdout:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/#key=(\w+)", line):
            # What else it says is read too: a full pipe would stop it.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found.group(1), found.group(2)
    raise SystemExit("the local run printed no link")


def send(url, key, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method)) as answer:
        return json.load(answer)


def typed(value):
    match value:
        case int():
            return {"N": str(value)}
        case dict():
            return {"M": {name: typed(member) for name, member in value.items()}}
        case _:
            return {"S": value}


def put(rows):
    """Put items into the table, as those who write it by hand do, and as many runs leave executions there."""
    env = dict(line.split("=", 1) for line in ENV.read_text().splitlines())
    headers = {
        "x-amz-target": "DynamoDB_20120810.BatchWriteItem", "x-amz-date": "20260101T000000Z",
        "content-type": "application/x-amz-json-1.0",
        "authorization": "AWS4-HMAC-SHA256 Credential=standin/20260101/us-east-1/dynamodb/aws4_request, "
        "SignedHeaders=host, Signature=0",
    }
    items = [{"PutRequest": {"Item": {name: typed(value) for name, value in row.items()}}} for row in rows]
    for at in range(0, len(items), 25):
        body = json.dumps({"RequestItems": {env["TRIGGERS_TABLE_NAME"]: items[at : at + 25]}}).encode()
        with urllib.request.urlopen(urllib.request.Request(env["AWS_ENDPOINT_URL_DYNAMODB"], body, headers)) as answer:
            assert not json.load(answer).get("UnprocessedItems")


def run(trigger, started, status, length, **more):
    """A run of a trigger: `started` in milliseconds since 1970, `length` in milliseconds."""
    rfc3339 = lambda millis: f"{datetime.fromtimestamp(millis / 1000, timezone.utc):%Y-%m-%dT%H:%M:%S}.{millis % 1000:03}Z"
    draw = lambda bits: random.getrandbits(bits)
    stamp = f"{started:012x}"
    execution = f"{stamp[:8]}-{stamp[8:]}-7{draw(12):03x}-8{draw(12):03x}-{draw(48):012x}"
    return {
        "PK": f"TRIGGER#{trigger['id']}", "SK": f"EXECUTION#{execution}", "executionId": execution,
        "triggerId": trigger["id"], "userId": "user-456", "agentId": "agent-789", "status": status,
        "startedAt": rfc3339(started), "completedAt": rfc3339(started + length), "durationMs": length, **more,
    }


def watch(page, problems):
    # The browser logs answers that the page expects: of a run that has not begun yet or has ended, of a schedule half
    # written, of a trigger that somebody else has changed, and of a service that is away.
    is_noise = lambda text: re.search(r"Failed to load resource: .* status of (400|404|409|412|503) ", text)
    page.on("console", lambda m: m.type == "error" and not is_noise(m.text) and problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))


def is_accessible(page, what):
    """Ask axe-core about the page as it stands. Whatever it finds is a fault, minor ones too."""
    found = Axe().run(page).response["violations"]
    found = [f"{v['impact']} {v['id']}: {v['help']} ({v['nodes'][0]['html'][:120]})" for v in found]
    assert not found, f"axe-core finds in {what}: " + "; ".join(found)


def named(url, key, name):
    return next(trigger for trigger in send(url, key, "GET", "/triggers")["triggers"] if trigger["name"].startswith(name))


def begin(page, url, key, name, prompt):
    """Make a trigger and let it run now."""
    trigger = send(url, key, "POST", "/triggers", {
        "name": name, "type": "event", "agentId": "agent-789", "prompt": prompt, "eventConfig": {"eventSourceId": "aws-s3"}})["trigger"]
    page.goto(f"{url}/#/triggers/{trigger['id']}")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    return trigger
