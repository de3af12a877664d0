"""Open each page of the book in a browser, and check that its pictures and diagrams show: `pictures.py FOLDER`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

LOADED = "[...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src)"


def main():
    folder = Path(sys.argv[1]).resolve()
    pictures = diagrams = 0
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        for path in sorted(folder.glob("*.html")):
            if path.name in ("404.html", "toc.html"):
                continue
            page.goto(path.as_uri())
            drawings = page.locator("pre.mermaid")
            for index in range(drawings.count()):
                drawings.nth(index).locator("svg").wait_for(timeout=20_000)
            problems += [f"{path.name} does not show {source}" for source in page.evaluate(LOADED)]
            pictures += page.evaluate("document.images.length")
            diagrams += drawings.count()
        browser.close()
    if not pictures or not diagrams:
        problems.append("there are no pictures, or no diagrams")
    print("\n".join(problems) or f"{pictures} pictures and {diagrams} diagrams show")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
