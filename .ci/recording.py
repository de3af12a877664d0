"""Check that a recording of the terminal shows what the local run shows: `recording.py SVG`."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

WORDS = ["cargo run --example local", "completed", "failed", "AgentFailed", "duplicate"]


def main():
    path = Path(sys.argv[1])
    root = ElementTree.parse(path).getroot()
    text = "\n".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")).replace("\xa0", " ")
    problems = [f"{path} does not show '{word}'" for word in WORDS if word not in text]
    if "prefers-reduced-motion" not in path.read_text():
        problems.append(f"{path} moves for those who want no motion too")
    if re.search(r"/(?:home|root|tmp|work|Users)/", text):
        problems.append(f"{path} shows a path of the machine on which it was made")
    print("\n".join(problems) or f"{path}: a recording of the local run, {path.stat().st_size // 1024} KiB")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
