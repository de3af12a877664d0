"""Use the page of the control plane in a real browser, against the local run of everything.

usage: page.py [SCREENSHOTS]

It starts `cargo run --example local -- --serve`, and needs Debian's chromium.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from browser import begin, is_accessible, link, named, put, run, send, watch
from corners import corners
from playwright.sync_api import expect, sync_playwright
from webhook import webhooks

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><b>bold</b>"
MINUTE = 60_000


def use(page, url, key, shots):
    page.goto(f"{url}/#key={key}")
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    expect(page.get_by_text("Every minute: what came in?")).to_be_visible()
    is_accessible(page, "the list of triggers")
    assert key not in page.url, "the key stays in the address"
    # The key outlasts a reload, and no other tab has it. The link opens the page where it stands open without one.
    page.reload()
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    other = page.context.new_page()
    other.goto(url)
    expect(other.get_by_role("heading", name="Log in")).to_be_visible()
    other.goto(f"{url}/#key={key}")
    expect(other.get_by_role("heading", name="Triggers")).to_be_visible()
    other.close()

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
    expect(page.get_by_role("heading", name="of <img src=x")).to_contain_text(", version 1")
    expect(page.get_by_text("Three files came in since yesterday")).to_be_visible()
    # What it was asked may be long, so it is shown to those who ask.
    assert page.get_by_text("<b>bold</b>", exact=False).locator("visible=true").count() == 1, "the heading alone"
    page.get_by_role("button", name="Show what was asked").click()
    expect(page.locator("main pre").filter(has_text=HOSTILE)).to_be_visible()
    expect(page.locator("dt:has-text('Started') + dd")).to_have_text(re.compile(r"\d [AP]M UTC$"))
    is_accessible(page, "a run")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('It is refused.')); }")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.locator("#notice")).to_have_text("It is refused.")

    # A schedule that is wrong is said while it is written, and by the field when it is saved.
    page.goto(f"{url}/#/new")
    is_accessible(page, "the form")
    page.get_by_label("Name", exact=True).fill("Monthly")
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
    preview(page, url, key)
    nothing_ran(page, url, key)
    cancel(page, url, key)
    answer(page, url, key)
    thousand(page, url, key)

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

    expect(page.get_by_text("Coming fires are shown until")).to_be_visible()
    expect(page.get_by_role("cell", name="Monthly")).to_be_visible()

    webhooks(page, url, key, shots)
    corners(page, url, key)
    history(url, key)
    sparklines(page, url)
    timeline(page, url)
    for name, width, scheme in [("light", 1100, "light"), ("dark", 1100, "dark"), ("narrow", 360, "light")]:
        page.set_viewport_size({"width": width, "height": 700})
        page.emulate_media(color_scheme=scheme)
        for view, heading in [("triggers", "Triggers"), ("runs", "Runs"), ("timeline", "Timeline"), ("new", "New trigger")]:
            page.goto(f"{url}/#/{view}")
            expect(page.get_by_role("heading", name=heading)).to_be_visible()
            if view == "timeline":
                expect(page.locator("#lanes a.bar").first).to_be_visible()
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            is_accessible(page, f"{view}, {name}")
            assert wide <= 0, f"{view}, {name}: the page is {wide} pixels too wide"
            if shots and view == "triggers":
                page.screenshot(path=str(Path(shots) / f"page-{name}.png"))
            if shots and (view, name) == ("timeline", "light"):
                page.screenshot(path=str(Path(shots) / "page-timeline.png"))


def edit(page, url, key):
    """Edit a trigger whose source is offered no more, after a look at another tab, and after somebody else."""
    uploads = lambda: next(t for t in send(url, key, "GET", "/triggers")["triggers"] if t["name"].startswith("Check uploads"))
    trigger = uploads()
    asked = []
    others = {"eventSources": [{"id": "other", "name": "Others"}]}
    page.route("**/events", lambda route: (asked.append(route), route.fulfill(json=others)))
    page.goto(f"{url}/#/edit/{trigger['id']}")
    page.get_by_label("Name", exact=True).fill("Check uploads twice")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("fetch('/ping').then((answer) => answer.text())")
    assert len(asked) == 1, "the form is drawn anew, and what was written is lost"
    send(url, key, "PUT", f"/triggers/{trigger['id']}", {"description": "Somebody else's"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this trigger")
    assert uploads()["name"] == "Check uploads"
    expect(page.get_by_label("Name", exact=True)).to_have_value("Check uploads twice")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Check uploads twice")).to_be_visible()
    page.unroute("**/events")
    assert uploads()["eventConfig"]["eventSourceId"] == trigger["eventConfig"]["eventSourceId"], "it was rewired"
    assert uploads()["description"] == "Somebody else's", "a change is lost"


def preview(page, url, key):
    """The form shows what the agent would get, which filter refuses, and which query finds nothing."""
    page.goto(f"{url}/#/new")
    expect(page.get_by_role("heading", name="New trigger")).to_be_visible()
    expect(page.get_by_label("Sample event")).to_be_hidden()
    page.get_by_label("Prompt", exact=True).fill("Say good morning")
    expect(page.locator("#rendered")).to_have_text("Say good morning")
    page.get_by_label("It runs on").select_option("event")
    page.get_by_label("Event source").select_option("aws-cloudwatch")
    event = page.get_by_label("Sample event")
    expect(event).to_have_value(re.compile("CloudWatch Alarm State Change"))
    page.get_by_label("Prompt", exact=True).fill("Why is {{ $.detail.alarmName }} on? {{ $.detail.colour }}")
    expect(page.locator("#rendered")).to_contain_text('Why is "ServerCpuTooHigh" on? null')
    expect(page.locator("#verdict")).to_contain_text("This event would run it.")
    expect(page.locator("#verdict")).to_contain_text("These find nothing in the event: $.detail.colour.")
    is_accessible(page, "the form of an event trigger")
    # A source that nobody knows sends what the prompt asks for, and what was written stays.
    page.get_by_label("Event source").select_option("com-example-orders")
    expect(event).to_have_value(re.compile('"alarmName": "some alarmName"'))
    event.fill('{"source": "x", "detail-type": "x", "detail": {"alarmName": "mine"}')
    expect(page.locator("#event-problem")).to_contain_text("JSON")
    event.fill('{"source": "x", "detail-type": "x", "detail": {"alarmName": "mine", "colour": 1}}')
    expect(page.locator("#rendered")).to_contain_text('Why is "mine" on? 1')
    expect(page.locator("#verdict")).not_to_contain_text("find nothing")
    expect(page.locator("#event-problem")).to_be_empty()
    page.get_by_label("Event source").select_option("aws-s3")
    expect(event).to_have_value(re.compile("mine"))
    event.fill('{"detail": {}}')
    expect(page.locator("#event-problem")).to_contain_text("detail-type")
    # What is wrong is said by its field, though only where somebody wrote.
    page.get_by_label("Prompt", exact=True).fill("{{ $..[ }}")
    expect(page.locator("#prompt-problem")).not_to_be_empty()
    expect(page.locator("#name-problem")).to_be_empty()
    images = named(url, key, "Describe each image")
    page.goto(f"{url}/#/edit/{images['id']}")
    expect(page.locator("#verdict")).to_have_text("Refused by the event pattern.")
    expect(page.locator("#rendered")).to_contain_text('Describe the image "incoming/orders.csv"')
    event.fill(event.input_value().replace("orders.csv", "chair.png"))
    expect(page.locator("#verdict")).to_have_text("This event would run it.")
    # Its filters are edited in the form, and what is wrong in them is said there.
    pattern, condition = page.get_by_label("Event pattern (JSON)"), page.get_by_label("Condition, or a list of them (JSON)")
    expect(pattern).to_have_value(re.compile('"suffix": ".png"'))
    expect(condition).to_have_value("")
    condition.fill('[{"field": "detail.object.size", "operator": "bigger", "value": 1}]')
    expect(page.locator("#condition-problem")).to_contain_text("operator")
    condition.fill('{"field": "detail.object.size", "operator": "gt", "value": 99999}')
    expect(page.locator("#condition-problem")).to_be_empty()
    expect(page.locator("#verdict")).to_have_text("Refused by the condition.")
    pattern.fill('{"detail": {"object": ')
    expect(page.locator("#eventPattern-problem")).to_contain_text("JSON")
    pattern.fill('{"detail": {"object": {"key": ["images/chair.jpg"]}}}')
    expect(page.locator("#eventPattern-problem")).to_be_empty()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Describe each image")).to_be_visible()
    wanted = {"eventSourceId": "aws-s3", "eventPattern": {"detail": {"object": {"key": ["images/chair.jpg"]}}},
              "condition": {"field": "detail.object.size", "operator": "gt", "value": 99999}}
    assert send(url, key, "GET", f"/triggers/{images['id']}")["trigger"]["eventConfig"] == wanted
    page.get_by_role("link", name="Edit").click()
    expect(event).to_have_value(re.compile("images/chair.jpg"))
    condition.fill("")
    pattern.fill(json.dumps(images["eventConfig"]["eventPattern"]))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Describe each image")).to_be_visible()
    assert send(url, key, "GET", f"/triggers/{images['id']}")["trigger"]["eventConfig"] == images["eventConfig"]
    page.goto(f"{url}/#/triggers")


def nothing_ran(page, url, key):
    """A trigger's page says why nothing ran, and what to do."""
    images = named(url, key, "Describe each image")
    now = int(time.time() * 1000)
    skips = [("Overlap", 9), ("Overlap", 5), ("MaxRunsPerDay", 2)]
    put([run(images, now - ago * MINUTE, "skipped", 0, skipReason=reason) for reason, ago in skips])
    page.goto(f"{url}/#/triggers/{images['id']}")
    why = page.get_by_role("region", name="Nothing ran?")
    for words in [
        "It waits for events of aws-s3.", '"suffix": ".png"', "(Overlap)", "Skipped 2 times", "still at work",
        "(MaxRunsPerDay)", "Raise the limit",
    ]:
        expect(why).to_contain_text(words)
    is_accessible(page, "a trigger")
    page.get_by_role("switch").click()
    expect(why).to_contain_text("It is switched off.")
    page.get_by_role("switch").click()
    expect(why).not_to_contain_text("It is switched off.")
    over = {"expression": "at(2031-01-01T00:00:00)", "timezone": "UTC"}
    over = send(url, key, "POST", "/triggers", {
        "name": "Once", "type": "schedule", "agentId": "agent-789", "prompt": "Once", "scheduleConfig": over})["trigger"]
    page.goto(f"{url}/#/triggers/{over['id']}")
    expect(why).to_contain_text("Nothing keeps it from running, and no fire was skipped.")
    skips = re.compile(f"{over['id']}/executions.status=skipped")
    page.route(skips, lambda route: route.fulfill(json={"executions": [], "nextToken": "more"}))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(why).to_contain_text("and no skipped fire was found.")
    page.unroute(skips)
    # These states take more than a test has at hand: a failed write, a time that passes, five failures.
    status = f"**/triggers/{over['id']}/status"
    for state, words in [("missing", "save the trigger again"), ("done", "It fires no more")]:
        shown = {"status": {"scheduleStatus": state, "health": "ok"}}
        page.route(status, lambda route: route.fulfill(json=shown))
        page.goto(f"{url}/#/triggers")
        expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
        page.goto(f"{url}/#/triggers/{over['id']}")
        expect(why).to_contain_text(words)
        page.unroute(status)
    paused = {**over, "enabled": False, "pausedAt": "2026-01-05T07:00:00Z", "pausedReason": "it failed 5 times in a row"}
    page.route(f"**/triggers/{over['id']}", lambda route: route.fulfill(json={"trigger": paused}))
    page.goto(f"{url}/#/triggers")
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    page.goto(f"{url}/#/triggers/{over['id']}")
    expect(why).to_contain_text("It is paused since")
    expect(why).to_contain_text("it failed 5 times in a row")
    page.unroute(f"**/triggers/{over['id']}")
    send(url, key, "DELETE", f"/triggers/{over['id']}")


def cancel(page, url, key):
    """A run is cancelled while it is at work."""
    trigger = begin(page, url, key, "Slow", "Please take long")
    expect(page.get_by_role("heading", name=re.compile("Run.*running"))).to_be_visible(timeout=30000)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
    expect(page.get_by_text("It is asked to stop.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("heading", name=re.compile("Run.*cancelled"))).to_be_visible(timeout=60000)
    expect(page.locator("#notice")).to_have_text("The run is cancelled.")
    expect(page.get_by_role("button", name="Replay")).to_be_visible()
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")
    # One that comes too late says so, for as long as the run is looked at.
    trigger = begin(page, url, key, "Quick", "Say hello")
    expect(page.get_by_role("heading", name=re.compile("Run.*completed"))).to_be_visible(timeout=30000)
    run = re.compile(r".*/executions/[^/?]+$")

    def running(route):
        answer = route.fetch().json()
        answer["execution"] |= {"status": "running", "canCancel": True}
        route.fulfill(json=answer)

    page.route(run, running)
    page.reload()
    page.get_by_role("button", name="Cancel").click()
    page.unroute(run)
    # The dialog holds nothing up, and what is asked in it stays.
    expect(page.locator("main button", has_text="Cancel")).to_have_count(0, timeout=15_000)
    page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#notice")).to_have_text("the execution has ended")
    expect(page.get_by_text("that came too late: the run had completed")).to_be_visible()
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")


def answer(page, url, key):
    """An answer that is HTML is shown as the text that it is."""
    trigger = begin(page, url, key, "Markup", "Please write HTML")
    expect(page.get_by_role("heading", name=re.compile("Run.*completed"))).to_be_visible(timeout=30000)
    expect(page.locator("main pre")).to_contain_text("<img src=x onerror=\"document.title='hit'\">")
    assert page.locator("main img, main b").count() == 0 and page.title() == "agent-trigger"
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")


def thousand(page, url, key):
    """The list of a thousand runs grows by a page at a time while somebody scrolls, and changes nothing else."""
    trigger = send(url, key, "POST", "/triggers", {
        "name": "Busy", "type": "event", "agentId": "agent-789", "prompt": "Busy", "eventConfig": {"eventSourceId": "aws-s3"}})["trigger"]
    long_ago = int(time.time() * 1000) - 60 * 24 * 60 * MINUTE
    put([run(trigger, long_ago - at * MINUTE, "failed", 1000) for at in range(1000)])
    page.goto(f"{url}/#/runs?trigger={trigger['id']}")
    expect(page.locator("#run-table tbody tr").first).to_be_visible()
    page.evaluate("""() => {
        window.changes = [];
        const size = (records) => records.reduce((sum, one) => sum + one.addedNodes.length + one.removedNodes.length, 0);
        new MutationObserver((records) => window.changes.push(size(records)))
            .observe(document.querySelector('#run-table tbody'), { childList: true, subtree: true });
    }""")
    rows = page.locator("#run-table tbody tr")
    for _ in range(1200):
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        if page.get_by_text("These are all 1000 runs.").count():
            break
        page.wait_for_timeout(50)
    expect(page.get_by_text("These are all 1000 runs.")).to_be_visible()
    links = rows.locator("a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert len(set(links)) == 1000 and links == sorted(links, reverse=True), "rows are missing, twice or out of order"
    changes = page.evaluate("window.changes")
    assert max(changes) <= 50, f"more than a page is drawn at once: {changes}"
    # A look at what is new does not draw the thousand again.
    page.evaluate("window.changes = []; document.querySelector('#run-table tbody tr').dataset.old = 'yes'")
    put([run(trigger, int(time.time() * 1000), "failed", 1000)])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("These are all 1001 runs.")).to_be_visible()
    assert page.evaluate("window.changes") == [1] and page.locator("tr[data-old]").count() == 1
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")


def history(url, key):
    """Some hours of runs, for the sparklines, the timeline and the pictures."""
    random.seed(7)
    now = int(time.time() * 1000)
    report, uploads = named(url, key, "Weekday report"), named(url, key, "Check uploads")
    runs = []
    for at in range(30):
        status = "failed" if at in (4, 11, 12) else "cancelled" if at == 17 else "completed"
        runs.append(run(report, now - (8 + at * 11) * MINUTE, status, random.randrange(1, 9) * MINUTE))
    for at in range(9):
        skipped = {"skipReason": "Overlap"} if at in (2, 6) else {}
        length = 0 if skipped else random.randrange(4, 24) * MINUTE
        runs.append(run(uploads, now - (30 + at * 34) * MINUTE, "skipped" if skipped else "completed", length, **skipped))
    minutes = named(url, key, "Every minute")
    runs += [run(minutes, now - at * MINUTE, "completed", random.randrange(1000, 2500)) for at in range(1, 20)]
    put(runs)


def sparklines(page, url):
    """Each trigger shows its last runs, in shapes and in words, from one request for all of them."""
    asked = []
    note = lambda request: asked.append(request.url.removeprefix(url))
    page.on("request", note)
    page.goto(f"{url}/#/runs")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    asked.clear()
    page.goto(f"{url}/#/triggers")
    card = page.get_by_role("listitem").filter(has_text="Weekday report")
    expect(card.get_by_role("img")).to_have_attribute("aria-label", "Last 20 runs: 16 completed, 3 failed, 1 cancelled")
    assert card.locator("svg > *").count() == 20
    shapes = {kind: card.locator(f"svg > {kind}").count() for kind in ("path.failed", "rect.completed")}
    assert shapes == {"path.failed": 3, "rect.completed": 16}, shapes
    assert [path.split("?")[0] for path in asked].count("/executions") == 1, asked
    assert not [path for path in asked if re.search("/triggers/.+/executions", path)], asked
    page.remove_listener("request", note)


def timeline(page, url):
    """The timeline shows when runs began and how long they took, and what comes."""
    page.set_viewport_size({"width": 1100, "height": 700})
    page.goto(f"{url}/#/timeline")
    report = page.get_by_role("link", name=re.compile("^Weekday report: "))
    expect(report).to_have_count(30)
    expect(page.get_by_role("link", name=re.compile("^Weekday report: failed"))).to_have_count(3)
    coming = page.get_by_role("link", name=re.compile("^Every minute: what came in.*coming")).first
    expect(coming.locator("rect.coming")).to_have_attribute("fill", "url(#hatch)")
    expect(page.get_by_role("link", name=re.compile("^Check uploads.*: skipped")).first.locator("circle")).to_be_attached()
    # A bar is as long as its run: six hours are most of the width.
    first = page.get_by_role("link", name=re.compile("^Check uploads.*: completed")).first
    length = re.search(r"(\d+) min", first.get_attribute("aria-label")).group(1)
    now = float(page.locator("line.now").get_attribute("x1"))
    width = float(first.locator("rect").get_attribute("width"))
    assert abs(width - int(length) * now / 360) < 1, f"{width} pixels for {length} minutes of {now} for 360"
    is_accessible(page, "the timeline")
    # The keyboard reaches each bar: one stop, then the arrows.
    page.locator("#lanes").focus()
    for _ in range(100):
        if page.evaluate("document.activeElement.matches('a.bar')"):
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('a.bar')"), "the Tab key reaches no bar"
    assert page.locator("a.bar[tabindex='0']").count() == 1
    seen = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    below = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert below.split(":")[0] != seen.split(":")[0], f"{seen}, then {below}"
    page.keyboard.press("ArrowLeft")
    moved = page.evaluate("document.activeElement.id")
    page.locator("svg.timeline").evaluate("(chart) => { chart.dataset.old = 'yes'; }")
    expect(page.locator("svg.timeline[data-old]")).to_have_count(0, timeout=30000)
    assert page.evaluate("document.activeElement.id") == moved, "the focus is lost when the view is drawn anew"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("^Run "))).to_be_visible()
    # The same as a table, and the length that is looked at is in the address.
    page.goto(f"{url}/#/timeline")
    page.get_by_text("The same as a table").click()
    row = page.get_by_role("row").filter(has_text="Weekday report")
    expect(row).to_contain_text("26 completed, 3 failed, 1 cancelled")
    choice = page.get_by_label("The last", exact=True)
    choice.focus()
    choice.select_option("1h")
    expect(page).to_have_url(re.compile("span=1h"))
    expect(report).to_have_count(5)
    assert page.evaluate("document.activeElement.id") == "span", "a choice keeps the focus"
    choice.select_option("7d")
    expect(report).to_have_count(30)
    # Every minute has more fires than are read: what lies behind them is grey.
    expect(page.locator("rect.unread").last).to_be_attached()
    expect(page.get_by_text("Coming fires are shown until")).to_be_visible()
    # A narrow window scrolls inside, and begins at what is new.
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(f"{url}/#/triggers")
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    page.goto(f"{url}/#/timeline")
    expect(page.locator("#lanes a.bar").first).to_be_visible()
    inside = page.locator("#lanes").evaluate("(box) => [box.scrollWidth - box.clientWidth, box.scrollLeft]")
    assert inside[0] > 100 and inside[1] > 0, inside


def main():
    shots = sys.argv[1] if len(sys.argv) > 1 else None
    serve = ["cargo", "run", "--locked", "--example", "local", "--", "--serve"]
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    process = subprocess.Popen(serve, env={**os.environ, "LOCAL_PORT": "0"}, stdout=subprocess.PIPE, text=True)
    problems = []
    try:
        url, key = link(process)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_context(locale="en-US", timezone_id="UTC").new_page()
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
