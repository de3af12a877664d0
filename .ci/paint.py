"""Measure the page of the control plane in a real browser: its bytes, its first paint, and the scrolling of 1,000 runs.

usage: paint.py [ROUNDS]

It starts `cargo run --example local -- --serve`, and needs Debian's chromium. Counts are asserted. Times are printed only:
they depend on the machine.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

from browser import link, put, run, send
from playwright.sync_api import expect, sync_playwright

ROWS = 1000
PAGE = 50
MINUTE = 60_000
# A row has five cells, a link and a status; the rest of the page has some hundred elements.
MOST_ELEMENTS = 12 * ROWS + 500

PAINTS = """() => Object.fromEntries([
    ...performance.getEntriesByType('paint').map((entry) => [entry.name, entry.startTime]),
    ['loaded', performance.getEntriesByType('navigation')[0].loadEventEnd]])"""

LOADED = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .map(({ name, encodedBodySize }) => [new URL(name).pathname, encodedBodySize])"""

# Scrolls by as much as a finger does in a frame, and notes how long each frame took and which tasks were long.
SCROLL = """(wanted) => new Promise((done) => {
    const frames = [], tasks = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)));
    observer.observe({ type: 'longtask' });
    scrollTo(0, 0);
    let last = performance.now(), still = 0;
    const rows = () => document.querySelectorAll('#run-table tbody tr').length;
    const step = (now) => {
        frames.push(now - last);
        last = now;
        const before = scrollY;
        scrollBy(0, 60);
        still = scrollY === before && rows() >= wanted ? still + 1 : 0;
        if (still < 10) return requestAnimationFrame(step);
        observer.disconnect();
        done({ frames, tasks, rows: rows(), elements: document.querySelectorAll('*').length });
    };
    requestAnimationFrame(step);
})"""


def first_paint(browser, url, key, rounds):
    """Open the page with an empty cache again and again."""
    paints, ready = [], []
    for _ in range(rounds):
        context = browser.new_context(locale="en-US", timezone_id="UTC")
        page = context.new_page()
        began = time.perf_counter()
        page.goto(f"{url}/#key={key}")
        expect(page.get_by_role("listitem").first).to_be_visible()
        ready.append((time.perf_counter() - began) * 1000)
        paints.append(page.evaluate(PAINTS))
        loaded = page.evaluate(LOADED)
        context.close()
    for name in ("first-paint", "first-contentful-paint", "loaded"):
        show(f"the page, {name}", [paint[name] for paint in paints])
    show("the page, until its triggers are seen", ready)
    files = {path: size for path, size in loaded if path == "/" or path.startswith("/assets/") or path == "/config.json"}
    print(f"the page's files: {len(files)}, {sum(files.values())} bytes")
    assert sum(files.values()) < 60 * 1024, files


def scroll(browser, url, key):
    """Scroll through a thousand runs: at first they are loaded on the way, then they are there."""
    trigger = send(url, key, "POST", "/triggers", {
        "name": "Busy", "type": "event", "agentId": "agent-789", "prompt": "Busy", "eventConfig": {"eventSourceId": "aws-s3"}})["trigger"]
    long_ago = int(time.time() * 1000) - 60 * 24 * 60 * MINUTE
    put([run(trigger, long_ago - at * MINUTE, "failed", 1000) for at in range(ROWS)])
    page = browser.new_context(locale="en-US", timezone_id="UTC").new_page()
    page.goto(f"{url}/#key={key}")
    expect(page.get_by_role("listitem").first).to_be_visible()
    asked = []
    page.on("request", lambda request: "nextToken=" in request.url and asked.append(request.url))
    page.goto(f"{url}/#/runs?trigger={trigger['id']}")
    expect(page.locator("#run-table tbody tr").first).to_be_visible()
    for what in ("loading 1,000 rows on the way", "with 1,000 rows there"):
        found = page.evaluate(SCROLL, ROWS)
        frames, tasks = found["frames"], found["tasks"]
        show(f"a frame, {what}", frames)
        slow = sum(frame > 50 for frame in frames)
        print(f"  {len(frames)} frames, {slow} over 50 ms; {len(tasks)} long tasks, {sum(tasks):.0f} ms in all; {found['elements']} elements")
        assert found["rows"] == ROWS, found["rows"]
        assert found["elements"] < MOST_ELEMENTS, found["elements"]
    assert len(asked) == len(set(asked)) == ROWS // PAGE - 1, f"{len(asked)} requests for {ROWS} rows"
    send(url, key, "DELETE", f"/triggers/{trigger['id']}")


def show(what, times):
    ordered = sorted(times)
    high = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
    print(f"{what}: median {statistics.median(times):.1f} ms, 95 % {high:.1f} ms, most {ordered[-1]:.1f} ms")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    serve = ["cargo", "run", "--locked", "--example", "local", "--", "--serve"]
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    process = subprocess.Popen(serve, env={**os.environ, "LOCAL_PORT": "0"}, stdout=subprocess.PIPE, text=True)
    try:
        url, key = link(process)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            first_paint(browser, url, key, rounds)
            scroll(browser, url, key)
            browser.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


if __name__ == "__main__":
    main()
