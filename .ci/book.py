"""Build the book of docs/ into a folder: `book.py FOLDER`. mdBook calls this file too, as its preprocessor.

A chapter may stand outside docs/ (README.md, RUNBOOK.md), and a page may link to any file of the repository. In the book
every chapter stands beside the others, and the linked files stand under files/.
"""

import html
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The script that draws the diagrams, as the package @mermaid-js/tiny has it.
MERMAID = "files/mermaid.tiny.js"

FENCE = re.compile(r"^(```+|~~~+)")
MERMAID_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)
# Inline code, or the target of a Markdown link or image, or of an HTML attribute.
TARGET = re.compile(r"(`+)(?:(?!\1).)+\1|(?P<before>\]\(|(?:src|srcset|href)=\")(?P<target>[^)\"\s]+)")


def page_name(path):
    """Return the name that a chapter's file has in the book, as Markdown."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/").replace("/", "-")


def in_book(target, source, chapters):
    """Return a link of the file `source` as the book needs it. Paths are those of the repository."""
    if re.match(r"[a-z][a-z0-9+.-]*:|#|/", target):
        return target
    path, mark, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if path in chapters:
        return page_name(path) + mark + anchor
    if path.endswith(".md"):
        sys.exit(f"FAILED: {source} links to {path}, which is no chapter: add it to docs/SUMMARY.md")
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}"


def rewritten(text, source, chapters):
    """Return a chapter with its links made those of the book. Fenced blocks stay as they are."""

    def link(match):
        if match["target"] is None:
            return match[0]
        return match["before"] + in_book(match["target"], source, chapters)

    lines, fence = [], None
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if fence is None and mark:
            fence = mark[1]
        elif fence and line.startswith(fence):
            fence = None
        elif fence is None:
            line = TARGET.sub(link, line)
        lines.append(line)
    return "\n".join(lines)


def drawn(text):
    """Return a chapter with its diagrams as the script of Mermaid finds them."""

    def diagram(match):
        lines = "\n".join(line for line in html.escape(match[1], quote=False).split("\n") if line.strip())
        return f'<pre class="mermaid">\n{lines}\n</pre>'

    text, count = MERMAID_BLOCK.subn(diagram, text)
    if count:
        theme = "/ayu|coal|navy/.test(document.documentElement.className) ? 'dark' : 'default'"
        text += f'\n\n<script src="{MERMAID}"></script>\n<script>mermaid.initialize({{theme: {theme}}});</script>\n'
    return text


def chapters_of(items):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            yield chapter
            yield from chapters_of(chapter["sub_items"])


def preprocess():
    _, book = json.load(sys.stdin)
    items = book["items"]
    chapters = [chapter for chapter in chapters_of(items) if chapter.get("source_path")]
    sources = {posixpath.normpath(posixpath.join("docs", chapter["source_path"])) for chapter in chapters}
    for chapter in chapters:
        source = posixpath.normpath(posixpath.join("docs", chapter["source_path"]))
        chapter["path"] = page_name(source)
        chapter["content"] = drawn(rewritten(chapter["content"], source, sources))
    json.dump(book, sys.stdout)


def build(folder):
    """Build the book, and copy what its pages link to. Every page of docs/ must be in it."""
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    missing = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"({page.name})" not in summary]
    if missing != ["SUMMARY.md"]:
        sys.exit(f"FAILED: not in docs/SUMMARY.md: {', '.join(name for name in missing if name != 'SUMMARY.md')}")
    if not shutil.which("mdbook"):
        sys.exit("FAILED: mdBook is not installed: `cargo install mdbook`")
    subprocess.run(["mdbook", "build", str(ROOT / "docs"), "--dest-dir", str(folder.resolve())], check=True)
    (folder / "book.toml").unlink(missing_ok=True)
    linked = set()
    for page in folder.glob("*.html"):
        linked |= set(re.findall(r'(?:src|srcset|href)="(files/[^"#]+)', page.read_text()))
    for name in linked:
        origin = ROOT / name.removeprefix("files/")
        if name == MERMAID:
            origin = Path(os.environ["MERMAID"])
        if not origin.is_file():
            sys.exit(f"FAILED: the book links to {origin}, which is no file")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, folder / name)
    print(f"{len(list(folder.glob('*.html')))} pages, {len(linked)} files beside them")


if __name__ == "__main__":
    if sys.argv[1:] == ["supports", "html"]:
        sys.exit(0)
    if sys.argv[1:]:
        build(Path(sys.argv[1]))
    else:
        preprocess()
