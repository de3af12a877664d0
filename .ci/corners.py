"""What the page does where answers are late, lost or odd: parts of page.py."""

import re
import time

from browser import is_accessible, named, put, run, send
from playwright.sync_api import expect

LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
PING = "fetch('/ping').then((answer) => answer.text())"


def corners(page, url, key):
    page.evaluate("""() => {
        window.notices = [];
        const notice = document.getElementById('notice');
        new MutationObserver(() => window.notices.push(notice.textContent)).observe(notice, { childList: true });
    }""")
    words(page, url)
    half_saved(page, url, key)
    half_made(page, url, key)
    nameless(page, url, key)
    late(page, url, key)
    behind_a_dialog(page, url, key)
    lists(page, url)
    resized(page, url)


def words(page, url):
    took = page.evaluate("import('/assets/dom.js').then(({ took }) => [59940, 59960, 119700, 3599900, null].map(took))")
    assert took == ["59.9 s", "1 min 0 s", "2 min 0 s", "1 h 0 min", ""], took
    page.goto(f"{url}/#/")
    expect(page.get_by_role("link", name="Triggers", exact=True)).to_have_attribute("aria-current", "page")


def half_saved(page, url, key):
    """The item is written, and Scheduler does not answer: to save again is not to write over somebody else's change."""
    report = named(url, key, "Weekday report")
    path = f"**/triggers/{report['id']}"

    def half(route):
        if route.request.method != "PUT":
            return route.continue_()
        version = route.fetch().json()["trigger"]["version"]
        route.fulfill(status=503, json={"message": "Scheduler is away", "details": {"triggerId": report["id"], "version": version}})

    page.route(path, half)
    page.goto(f"{url}/#/edit/{report['id']}")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("Scheduler is away")
    page.unroute(path)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Weekday report")).to_be_visible()
    expect(page.locator("#notice")).to_have_text("Saved.")


def half_made(page, url, key):
    """The same for a new trigger: to save again makes no second one."""
    def half(route):
        if route.request.method != "POST":
            return route.continue_()
        made = route.fetch().json()["trigger"]
        route.fulfill(status=503, json={"message": "Scheduler is away", "details": {"triggerId": made["id"], "version": made["version"]}})

    page.goto(f"{url}/#/new")
    page.get_by_label("Name", exact=True).fill("Twice")
    page.get_by_label("Agent").fill("agent-789")
    page.get_by_label("Prompt", exact=True).fill("Once")
    page.route("**/triggers", half)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("Scheduler is away")
    page.unroute("**/triggers")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Twice")).to_be_visible()
    made = [trigger for trigger in send(url, key, "GET", "/triggers")["triggers"] if trigger["name"] == "Twice"]
    assert len(made) == 1, "one form has made two triggers"
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Triggers")).to_be_visible()
    assert "Deleted." in page.evaluate("window.notices"), "nobody learns of the deletion"


def nameless(page, url, key):
    """A trigger as docs/triggers.md writes one by hand: without a name, and with its pattern as JSON text."""
    put([{
        "PK": "TRIGGER#user-456", "SK": "TRIGGER#by-hand", "id": "by-hand", "userId": "user-456", "agentId": "agent-789",
        "type": "event", "prompt": "Check {{ $.detail.object.key }}", "eventConfig": {
            "eventSourceId": "aws-s3", "eventPattern": '{"detail-type":["Object Created"]}',
            "threshold": {"count": 2, "windowSeconds": 60}}}])
    put([run({"id": "by-hand"}, int(time.time() * 1000) - 60_000, "completed", 90_000)])
    for view in ["triggers", "runs", "timeline"]:
        page.goto(f"{url}/#/{view}")
        page.evaluate(LOOK)
        if view == "timeline":
            page.locator("summary").click()
        expect(page.locator("main").get_by_text("by-hand", exact=True).first).to_be_visible()
        is_accessible(page, f"{view} with a trigger that has no name")
    expect(page.get_by_role("link", name=re.compile("^by-hand: completed"))).to_have_count(1)
    page.goto(f"{url}/#/triggers/by-hand")
    expect(page.get_by_role("heading", name="by-hand")).to_be_visible()
    why = page.get_by_role("region", name="Nothing ran?")
    expect(why.locator("pre")).to_contain_text(re.compile(r'"detail-type": \[\s+"Object Created"'))
    expect(why).to_contain_text("It runs once for every 2 matching events within 60 s.")
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Sample event")).to_have_value(re.compile('"Object Created"'))
    page.get_by_label("Name", exact=True).fill("By hand")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="By hand")).to_be_visible()
    # A schedule that is left from before it waited for events may still start it.
    left = {"status": {"scheduleStatus": "missing", "health": "ok"}}
    page.route("**/triggers/by-hand/status", lambda route: route.fulfill(json=left))
    page.evaluate(LOOK)
    expect(why).to_contain_text("A schedule from before may still start it: save the trigger again.")
    page.unroute("**/triggers/by-hand/status")
    send(url, key, "DELETE", "/triggers/by-hand")


def late(page, url, key):
    """An answer that comes after that of a later look is not drawn."""
    name = "Check uploads"
    before = send(url, key, "GET", "/triggers")
    held = []
    page.goto(f"{url}/#/triggers")
    switch = page.get_by_role("switch", name=re.compile(f"^{name}"))
    expect(switch).to_have_attribute("aria-checked", "true")
    page.route("**/triggers", lambda route: route.continue_() if held else held.append(route))
    page.evaluate(LOOK)
    page.evaluate(PING)
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    held[0].fulfill(json=before)
    page.evaluate(PING)
    assert switch.get_attribute("aria-checked") == "false", "an older answer is drawn over a newer one"
    page.unroute("**/triggers")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")


def behind_a_dialog(page, url, key):
    """What changes behind a dialog is drawn at once, and the focus goes back to the button that has taken the place of its own."""
    uploads = named(url, key, "Check uploads")
    page.goto(f"{url}/#/triggers/{uploads['id']}")
    expect(page.get_by_role("heading", name="Nothing ran?")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    send(url, key, "PUT", f"/triggers/{uploads['id']}", {"prompt": "Behind a dialog"})
    page.evaluate(LOOK)
    expect(page.get_by_text("Behind a dialog")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Run now")).to_be_focused()
    send(url, key, "PUT", f"/triggers/{uploads['id']}", {"prompt": uploads["prompt"]})


def lists(page, url):
    """A list that begins empty has a next page, and a run that is gone goes from the list."""
    rows = [run({"id": "gone"}, 1_700_000_000_000 - at * 60_000, "completed", 1000) for at in range(52)]
    rows = [{**row, "executedAt": row["startedAt"]} for row in rows]
    rows[50] |= {"status": "running"}
    answers = [
        {"executions": []},
        {"executions": rows[1:51], "nextToken": "more"},
        {"executions": rows[:50], "nextToken": "more"},
    ]
    page.route(re.compile(r"/executions\?limit=50$"), lambda route: route.fulfill(json=answers.pop(0) if len(answers) > 1 else answers[0]))
    page.route(re.compile(r"/executions\?limit=50&nextToken="), lambda route: route.fulfill(json={"executions": rows[51:]}))
    page.goto(f"{url}/#/runs")
    expect(page.get_by_text("Nothing ran yet.")).to_be_visible()
    page.evaluate(LOOK)
    expect(page.get_by_text("50 runs so far.")).to_be_visible()
    page.evaluate(LOOK)
    page.get_by_role("button", name="Older runs").click()
    expect(page.get_by_text("These are all 51 runs.")).to_be_visible()
    assert page.locator("#run-table .running").count() == 0, "a run that is gone is shown as running"
    page.unroute_all()


def resized(page, url):
    """A window whose width stays is not drawn anew, however often its height changes."""
    page.goto(f"{url}/#/timeline")
    expect(page.locator("svg.timeline")).to_be_visible()
    asked = []
    note = lambda request: asked.append(request.url)
    page.on("request", note)
    page.evaluate("for (let at = 0; at < 30; at += 1) window.dispatchEvent(new Event('resize'))")
    page.evaluate(PING)
    page.remove_listener("request", note)
    assert len([one for one in asked if "/upcoming-runs" in one]) < 5, asked
