"""Use the page of the control plane in a real browser, against the local run of everything.

usage: page.py [SCREENSHOTS]

It starts `cargo run --example local -- --serve`, and needs Debian's chromium.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><b>bold</b>"


def link(process):
    for line in process.stdout:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/#key=(\w+)", line):
            return found.group(1), found.group(2)
    raise SystemExit("the local run printed no link")


def send(url, key, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method)) as answer:
        return json.load(answer)


def watch(page, problems):
    # The browser logs answers that the page expects: of a run that has not begun yet, of a schedule half
    # written, and of a trigger that somebody else has changed.
    is_noise = lambda text: re.search(r"Failed to load resource: .* status of (400|404|412) ", text)
    page.on("console", lambda m: m.type == "error" and not is_noise(m.text) and problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))


def is_accessible(page, what):
    """Ask axe-core about the page as it stands. What it calls serious or critical is a fault."""
    found = Axe().run(page).response["violations"]
    grave = [f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:120]})" for v in found if v["impact"] in ("serious", "critical")]
    assert not grave, f"axe-core finds in {what}: " + "; ".join(grave)


def use(page, url, key, shots):
    page.goto(f"{url}/#key={key}")
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    expect(page.get_by_text("Every minute: what came in?")).to_be_visible()
    is_accessible(page, "the list of triggers")
    assert key not in page.url, "the key stays in the address"

    # What users wrote is text, wherever it is shown.
    trigger = send(url, key, "POST", "/triggers", {
        "name": HOSTILE, "type": "schedule", "agentId": "agent-789", "prompt": HOSTILE,
        "scheduleConfig": {"expression": "0 9 ? * MON-FRI *", "timezone": "Europe/Berlin"},
    })["trigger"]
    page.goto(f"{url}/#/triggers/{trigger['id']}")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    assert page.locator("main img").count() == 0 and page.title() == "agent-trigger"

    # A run begins, and turns to completed without a reload.
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    expect(page.get_by_role("heading", name=re.compile("Run.*completed"))).to_be_visible(timeout=30000)
    expect(page.get_by_text("Three files came in since yesterday")).to_be_visible()
    is_accessible(page, "a run")

    # A schedule that is wrong is said while it is written, and by the field when it is saved.
    page.goto(f"{url}/#/new")
    is_accessible(page, "the form")
    page.get_by_label("Name").fill("Monthly")
    page.get_by_label("Agent").fill("agent-789")
    page.get_by_label("Prompt").fill("Please fail")
    page.get_by_label("When (cron, rate or at)").fill("0 18 L * ? *")
    page.get_by_label("Time zone").fill("Asia/Tokyo")
    expect(page.get_by_text("At 18:00, on the last day of the month (Asia/Tokyo)")).to_be_visible()
    page.get_by_label("Time zone").fill("Asia/Nowhere")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#timezone-problem")).to_contain_text("IANA")
    page.get_by_label("Time zone").fill("Asia/Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Monthly")).to_be_visible()

    # It fails, says why, is mended, and its replay is asked for by the keyboard alone.
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    expect(page.get_by_role("heading", name=re.compile("Run.*failed"))).to_be_visible(timeout=30000)
    expect(page.locator("pre.error")).to_contain_text("ThrottlingException")
    page.get_by_role("button", name="Replay").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Leave it", "what is safe has the focus"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Replays")).to_be_visible(timeout=30000)

    edit(page, url, key)

    # The filter is in the address, and the switch works.
    page.goto(f"{url}/#/runs")
    page.get_by_label("Status").select_option("failed")
    expect(page).to_have_url(re.compile("status=failed"))
    is_accessible(page, "the list of runs")
    page.goto(f"{url}/#/triggers")
    switch = page.get_by_role("switch", name="Weekday report: on")
    switch.click()
    expect(page.get_by_role("switch", name="Weekday report: on")).to_have_attribute("aria-checked", "false")
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")
    page.goto(f"{url}/#/upcoming")
    expect(page.get_by_text("Every minute: what came in?").first).to_be_visible()

    for name, width, scheme in [("light", 1100, "light"), ("dark", 1100, "dark"), ("narrow", 360, "light")]:
        page.set_viewport_size({"width": width, "height": 700})
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{url}/#/triggers")
        expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        is_accessible(page, f"the list of triggers, {name}")
        assert wide <= 0, f"{name}: the page is {wide} pixels too wide"
        if shots:
            page.screenshot(path=str(Path(shots) / f"page-{name}.png"))


def edit(page, url, key):
    """Edit a trigger whose source is offered no more, after a look at another tab, and after somebody else."""
    uploads = lambda: next(t for t in send(url, key, "GET", "/triggers")["triggers"] if t["name"].startswith("Check uploads"))
    trigger = uploads()
    asked = []
    others = {"eventSources": [{"id": "other", "name": "Others"}]}
    page.route("**/events", lambda route: (asked.append(route), route.fulfill(json=others)))
    page.goto(f"{url}/#/edit/{trigger['id']}")
    page.get_by_label("Name").fill("Check uploads twice")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("fetch('/ping').then((answer) => answer.text())")
    assert len(asked) == 1, "the form is drawn anew, and what was written is lost"
    send(url, key, "PUT", f"/triggers/{trigger['id']}", {"description": "Somebody else's"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this trigger")
    assert uploads()["name"] == "Check uploads"
    expect(page.get_by_label("Name")).to_have_value("Check uploads twice")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Check uploads twice")).to_be_visible()
    page.unroute("**/events")
    assert uploads()["eventConfig"]["eventSourceId"] == trigger["eventConfig"]["eventSourceId"], "it was rewired"
    assert uploads()["description"] == "Somebody else's", "a change is lost"


def main():
    shots = sys.argv[1] if len(sys.argv) > 1 else None
    serve = ["cargo", "run", "--locked", "--example", "local", "--", "--serve"]
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    process = subprocess.Popen(serve, env={**os.environ, "PORT": "0"}, stdout=subprocess.PIPE, text=True)
    problems = []
    try:
        url, key = link(process)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            watch(page, problems)
            use(page, url, key, shots)
            browser.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    print("\n".join(problems) or "the page works: no error in its console, and nothing foreign was run")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
