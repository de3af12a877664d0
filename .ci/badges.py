"""Draw the badges of README.md from the project's own files, or check that those in docs/badges are these.

usage: badges.py [--write]

They are files and not addresses of a service, because the page is then whole without a network, and because a service could
only repeat what stands here.
"""

import re
import sys
import tomllib
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/badges"
BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="22" role="img" aria-label="{name}: {value}">
  <title>{name}: {value}</title>
  <clipPath id="round"><rect width="{width}" height="22" rx="4"/></clipPath>
  <g clip-path="url(#round)">
    <rect width="{left}" height="22" fill="#3b434b"/>
    <rect x="{left}" width="{right}" height="22" fill="#0969da"/>
  </g>
  <g fill="#fff" font-family="Verdana, 'DejaVu Sans', Geneva, sans-serif" font-size="11" lengthAdjust="spacingAndGlyphs">
    <text x="7" y="15" textLength="{name_length}">{name}</text>
    <text x="{value_at}" y="15" textLength="{value_length}">{value}</text>
  </g>
</svg>
"""
# Characters that are narrower or wider than most, in pixels. The picture gives each text its length, whatever the font.
WIDTHS = {**dict.fromkeys("fijlt,.- ", 4.2), **dict.fromkeys("ABCDLMRST", 7.8), **dict.fromkeys("mw", 10.2)}


def facts():
    """Yield the file, the name and the value of each badge."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    package = cargo["workspace"]["package"]
    template = yaml_parse((ROOT / "template.yaml").read_text())
    protocols = (ROOT / "docs/agents.md").read_text().split("\n## In a protocol\n")[1].split("\n## ")[0]
    yield "version", "version", cargo["package"]["version"]
    yield "licence", "licence", package["license"]
    yield "lambda", "AWS Lambda", ", ".join(template["Parameters"]["Architecture"]["AllowedValues"]).replace("_", "-")
    yield "protocols", "agent protocols", str(len(re.findall(r"^### ", protocols, re.M)))
    yield "rust", "Rust", f"{package['rust-version']} or later"


def drawn(name, value):
    name_length, value_length = (round(sum(WIDTHS.get(letter, 6.7) for letter in text)) for text in (name, value))
    left, right = name_length + 14, value_length + 14
    return BADGE.format(
        name=name, value=value, width=left + right, left=left, right=right, value_at=left + 7,
        name_length=name_length, value_length=value_length,
    )


def main():
    badges = {f"{file}.svg": drawn(name, value) for file, name, value in facts()}
    if sys.argv[1:] == ["--write"]:
        FOLDER.mkdir(exist_ok=True)
        for file, text in badges.items():
            (FOLDER / file).write_text(text)
    there = {path.name: path.read_text() for path in FOLDER.glob("*.svg")}
    if there != badges:
        wrong = sorted(file for file in there.keys() | badges if there.get(file) != badges.get(file))
        sys.exit(f"FAILED: docs/badges is not what .ci/badges.py draws ({', '.join(wrong)}); run .ci/badges.py --write")
    print(f"{len(badges)} badges are true")


if __name__ == "__main__":
    main()
