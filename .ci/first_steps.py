"""Do what docs/first-steps.md says in "Make a trigger", "Break it" and "Mend it", against a local run that serves.

The commands are taken from the page and run as they stand there, in the root of the repository. TRIGGER_ID becomes the id
that `put` printed.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECTIONS = ["Make a trigger", "Break it", "Mend it"]
# What the output of each block must show, in their order, and whether its last command fails.
EXPECTED = [
    (["on Monday to Friday", "Europe/Berlin"], False),
    (["My first trigger|completed"], False),
    (["AgentFailed"], False),
    (["scheduleConfig.expression"], True),
    (["ok .*My first trigger"], False),
]
FILES = ["first-trigger.json", "first-trigger.json.bak", "broken-trigger.json"]


def blocks():
    text = (ROOT / "docs/first-steps.md").read_text()
    for section in SECTIONS:
        body = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
        yield from re.findall(r"^```sh\n(.*?)^```", body, re.M | re.S)


def main():
    found = list(blocks())
    if len(found) != len(EXPECTED):
        return f"the page has {len(found)} blocks, not {len(EXPECTED)}"
    trigger = "TRIGGER_ID"
    for block, (shown, fails) in zip(found, EXPECTED):
        block = block.replace("TRIGGER_ID", trigger)
        # A run takes a moment before it is in the table.
        block = re.sub(r"^(cargo .* -- list .*)$", r"until \1 | grep -E '✓ completed|✗ failed'; do sleep 1; done; \1", block, flags=re.M)
        # The health is written with the end of the run.
        block = re.sub(r"^(cargo .* -- triggers)$", rf"until \1 | grep 'ok .*{trigger}'; do sleep 1; done", block, flags=re.M)
        print(block, end="", flush=True)
        done = subprocess.run(["timeout", "300", "bash", "-euo", "pipefail", "-c", block], cwd=ROOT, capture_output=True, text=True)
        output = done.stdout + done.stderr
        print(output, flush=True)
        for words in shown:
            if not re.search(words, output):
                return f"it does not show {words}"
        if (done.returncode != 0) != fails:
            return f"it ended with {done.returncode}"
        ids = re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", done.stdout)
        if trigger == "TRIGGER_ID" and ids:
            trigger = ids[0]
    return None


if __name__ == "__main__":
    try:
        problem = main()
    finally:
        for name in FILES:
            (ROOT / name).unlink(missing_ok=True)
    sys.exit(f"FAILED: {problem}" if problem else 0)
