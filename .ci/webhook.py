"""The page's panel of a webhook: a part of page.py."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from browser import is_accessible, named, send
from playwright.sync_api import expect

# One poll is 10 s while nothing runs.
POLL = 15_000


def webhooks(page, url, key, shots):
    # The test of a run refuses the clipboard.
    page.reload()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    trigger = made(page, url, key)
    panel(page, trigger, shots)
    rotated(page)
    tested(page)
    presets(page, url, key)
    half_made(page, url, key)
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")


def shell(command):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def made(page, url, key):
    """A webhook is made in the form, whose preview shows a delivery of its sender."""
    page.goto(f"{url}/#/new")
    expect(page.get_by_role("heading", name="New trigger")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("From elsewhere")
    page.get_by_label("Agent").fill("agent-789")
    page.get_by_label("Prompt", exact=True).fill("Look at {{ $.body.issue.title }}")
    page.get_by_label("It runs on").select_option("webhook")
    expect(page.get_by_label("Event source")).to_be_hidden()
    expect(page.get_by_text("{{ $.body.name }} takes a value")).to_be_visible()
    expect(page.get_by_text("{{ $.detail.name }} takes a value")).to_be_hidden()
    preset = page.get_by_label("How its sender proves who it is")
    preset.select_option("basic")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#username-problem")).to_contain_text("required")
    preset.select_option("hmac")
    expect(page.get_by_label("The header that holds the signature.")).to_be_visible()
    expect(page.get_by_label("The user name.")).to_be_hidden()
    is_accessible(page, "the form of a webhook")
    preset.select_option("github")
    expect(page.locator("#rendered")).to_contain_text('Look at "It does not start"')
    expect(page.locator("#verdict")).to_contain_text("This event would run it.")
    alias = page.get_by_label("A readable name in its address")
    alias.fill("GitHub")
    page.get_by_label("Addresses and networks").fill("127.0.0.1, nonsense")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#allowedIps-problem")).to_contain_text("allowedIps[1]")
    expect(page.locator("#alias-problem")).to_contain_text("lower-case letters")
    other = send(url, key, "POST", "/triggers", {
        "name": "Other", "type": "event", "agentId": "agent-789", "prompt": "p", "webhookConfig": {"alias": "from-elsewhere"}})["trigger"]
    page.get_by_label("Addresses and networks").fill("127.0.0.0/8")
    alias.fill("from-elsewhere")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#alias-problem")).to_contain_text("is taken by your trigger")
    send(url, key, "DELETE", f"/triggers/{other['id']}")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Webhook of From elsewhere")).to_be_visible()
    return named(url, key, "From elsewhere")


def panel(page, trigger, shots):
    """What is copied sends a delivery, which runs. One with a wrong signature is shown with its reason within one poll."""
    secret = page.locator("#secret").text_content()
    assert re.fullmatch("[0-9a-f]{64}", secret), "no secret is shown"
    is_accessible(page, "a webhook")
    copied = {}
    for what in ["the address", "the secret", "the command"]:
        page.get_by_role("button", name=f"Copy {what}").click()
        expect(page.locator("#notice")).to_have_text("Copied.")
        copied[what] = page.evaluate("navigator.clipboard.readText()")
    assert copied["the secret"] == secret and copied["the address"] in copied["the command"]
    answer = shell(copied["the command"])
    assert answer["executionId"], answer
    # The same under its alias.
    page.get_by_role("button", name="Copy its alias").click()
    by_alias = page.evaluate("navigator.clipboard.readText()")
    assert by_alias.endswith("/hooks/from-elsewhere"), by_alias
    # Another body, because an equal one is the same delivery.
    other = copied["the command"].replace('\\"test\\"', '\\"other\\"')
    assert other != copied["the command"]
    assert not shell(other.replace(copied["the address"], by_alias))["duplicate"]
    rows = page.locator("#deliveries tbody tr")
    expect(rows).to_have_count(2, timeout=POLL)
    expect(rows.first).to_contain_text("accepted")
    refused = urllib.request.Request(copied["the address"], b"{}", {"X-Hub-Signature-256": "sha256=" + "0" * 64})
    try:
        urllib.request.urlopen(refused)
        raise SystemExit("a wrong signature is accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 401
    expect(rows).to_have_count(3, timeout=POLL)
    expect(rows.first).to_contain_text("refused")
    expect(rows.first).to_contain_text("wrongSignature: The signature was made with another secret")
    is_accessible(page, "deliveries")
    for name, width, scheme in [("dark", 1100, "dark"), ("narrow", 360, "light"), ("light", 1100, "light")]:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the webhook, {name}: the page is {wide} pixels too wide"
        is_accessible(page, f"the webhook, {name}")
    # Who leaves the view has seen the secret.
    page.get_by_role("link", name="Its run").first.click()
    expect(page.get_by_role("heading", name=re.compile("Run.*completed"))).to_be_visible(timeout=30000)
    page.goto(page.url.split("#")[0] + f"#/triggers/{trigger['id']}")
    why = page.get_by_role("region", name="Nothing ran?")
    expect(why).to_contain_text("It waits for deliveries.")
    page.get_by_role("link", name="Webhook", exact=True).click()
    expect(page.get_by_text("it was shown once")).to_be_visible()
    assert page.locator("#secret").count() == 0 and secret not in page.content()
    if shots:
        page.screenshot(path=str(Path(shots) / "page-webhook.png"), full_page=True)


def rotated(page):
    """The secret is replaced once it was said how long the one before lives. The keyboard is enough."""
    page.get_by_role("button", name="Replace the secret").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert page.evaluate("document.activeElement.textContent") == "Leave it", "what is safe has the focus"
    expect(dialog).to_contain_text("Both work until")
    is_accessible(page, "the dialog that replaces a secret")
    dialog.get_by_label("The present secret works on").select_option("0")
    expect(dialog).to_contain_text("The present one works no more")
    dialog.get_by_label("The present secret works on").select_option("3600")
    expect(dialog).to_contain_text("Both work until")
    dialog.get_by_role("button", name="Replace it").click()
    expect(page.locator("#secret")).to_be_visible()
    expect(page.get_by_text("The one before")).to_be_visible()
    assert shell(page.locator("#command").text_content())["executionId"]
    # A sender's own secret is neither shown nor kept.
    page.get_by_role("button", name="Replace the secret").click()
    dialog.get_by_label("A secret of your own").fill("chosen-by-the-sender")
    dialog.get_by_role("button", name="Replace it").click()
    expect(page.locator("#secret")).to_have_count(0)
    assert "chosen-by" not in page.content()
    command = page.locator("#command").text_content()
    assert shell(command.replace("THE SECRET", "chosen-by-the-sender"))["executionId"]


def tested(page):
    count = page.locator("#deliveries tbody tr").count()
    dialog = page.get_by_role("dialog")
    tests = page.locator("#deliveries tbody tr").filter(has_text="Test.")
    page.get_by_role("button", name="Send a test").click()
    expect(dialog.get_by_label("Its headers")).to_have_value(re.compile('"x-github-event": "issues"'))
    is_accessible(page, "the dialog of a test delivery")
    dialog.get_by_role("button", name="Send it").click()
    expect(tests).to_have_count(1, timeout=POLL)
    assert page.locator("#deliveries tbody tr").count() > count
    # It may have any header of the sender, and what is none is named.
    for headers, said in [('{"X-GitHub-Event": "ping"}', "is on its way"), ('{"a b": "c"}', "headers.a b: must be the name of a header")]:
        page.get_by_role("button", name="Send a test").click()
        dialog.get_by_label("Its headers").fill(headers)
        dialog.get_by_role("button", name="Send it").click()
        expect(page.locator("#notice")).to_contain_text(said)
    expect(tests).to_have_count(2, timeout=POLL)
    expect(tests.first).to_contain_text("handshake")


def presets(page, url, key):
    """The command that is shown works for each preset."""
    hmac = {"preset": "hmac", "header": "X-It", "prefix": "v0=", "encoding": "base64", "algorithm": "sha512",
            "timestampHeader": "X-At", "signedContent": "it's $1 `x` \"{timestamp}\":{body}"}
    for config in [{"preset": "standard"}, {"preset": "slack"}, {"preset": "stripe"}, {"preset": "hmac"}, hmac, {"preset": "token"},
                   {"preset": "token", "header": "X-It", "prefix": "it's "}, {"preset": "bearer"}, {"preset": "basic", "username": "it's me"}]:
        answer = send(url, key, "POST", "/triggers", {
            "name": "Preset", "type": "event", "agentId": "agent-789", "prompt": "Say hello", "webhookConfig": config})
        trigger, secret = answer["trigger"]["id"], answer["webhook"]["secret"]
        page.goto(f"{url}/#/webhook/{trigger}")
        expect(page.locator("#command")).to_contain_text(answer["webhook"]["url"])
        expect(page.get_by_text("Nothing came in the last seven days.")).to_be_visible()
        command = page.locator("#command").text_content().replace("THE SECRET", secret)
        done = subprocess.run(["sh", "-c", command.replace("curl -sS", "curl -sS -o /dev/null -w '%{http_code}'")], capture_output=True, text=True)
        assert done.stdout == ("200" if config["preset"] == "slack" else "202"), f"{config}: {done.stdout} {done.stderr} {command}"
        send(url, key, "DELETE", f"/triggers/{trigger}")


def half_made(page, url, key):
    """The secret could not be written. To save again completes the webhook and shows its secret."""
    def half(route):
        if route.request.method != "POST":
            return route.continue_()
        made = send(url, key, "POST", "/triggers", {"name": "Half", "type": "event", "agentId": "agent-789", "prompt": "p", "eventConfig": {"eventSourceId": "aws-s3"}})["trigger"]
        route.fulfill(status=503, json={"message": "Secrets are away", "details": {"triggerId": made["id"], "version": made["version"]}})

    page.goto(f"{url}/#/new")
    page.get_by_label("Name", exact=True).fill("Half")
    page.get_by_label("Agent").fill("agent-789")
    page.get_by_label("Prompt", exact=True).fill("p")
    page.get_by_label("It runs on").select_option("webhook")
    page.route("**/triggers", half)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("Secrets are away")
    page.unroute("**/triggers")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Webhook of Half")).to_be_visible()
    expect(page.locator("#secret")).to_have_text(re.compile("^whsec_"))
    halves = [trigger for trigger in send(url, key, "GET", "/triggers")["triggers"] if trigger["name"] == "Half"]
    assert len(halves) == 1
    send(url, key, "DELETE", f"/triggers/{halves[0]['id']}")
