"""Check that the plot of docs/performance.md shows the figures of its tables of aims.

usage: plot.py [--write]

`cargo bench --bench report` writes both (benches/harness/src/svg.rs). With --write the plot is drawn from the tables, for a change of
a table by hand.
"""

import re
import sys
from html import escape, unescape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE, PLOT = ROOT / "docs/performance.md", ROOT / "docs/performance.svg"
AIM = re.compile(r"^\| (.+?) +\| ([\d.]+) (\S+) +\| under ([\d.]+) \S+ +\| (met|missed) +\|$", re.M)
SHOWN = re.compile(r'text-anchor="end">(.+?)</text>.*?>([\d.]+) of ([\d.]+) (.+?)</text>')
# As in benches/harness/src/svg.rs.
ROW, LABELS, BARS, VALUES = 26, 490, 320, 170
LIMIT = LABELS + BARS * 4 // 5


def drawn(aims):
    width, height = LABELS + BARS + VALUES, ROW * (len(aims) + 2)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f'<text x="{LIMIT}" y="18" text-anchor="middle" fill="#555">limit</text>\n'
    )
    for row, (what, value, limit, unit) in enumerate(aims, 1):
        share, y = float(value) / float(limit), ROW * row
        bar, color = round(min(share, 1.25) * (LIMIT - LABELS)), "#3b7dd8" if share < 1 else "#d8553b"
        yield (
            f'<text x="{LABELS - 10}" y="{y + 17}" text-anchor="end">{escape(what, quote=False)}</text>'
            f'<rect x="{LABELS}" y="{y + 4}" width="{bar}" height="18" fill="{color}"/>'
            f'<text x="{LABELS + BARS + 8}" y="{y + 17}">{value} of {limit} {unit}</text>\n'
        )
    yield f'<path d="M{LIMIT} 24V{height - ROW + 8}" stroke="#333" stroke-dasharray="4 3"/>\n</svg>\n'


def main():
    aims = [(what, value, limit, unit) for what, value, unit, limit, _ in AIM.findall(PAGE.read_text())]
    if sys.argv[1:] == ["--write"]:
        PLOT.write_text("".join(drawn(aims)))
    shown = [tuple(unescape(part) for part in found) for found in SHOWN.findall(PLOT.read_text())]
    if not aims or shown != aims:
        sys.exit("FAILED: docs/performance.svg does not show the aims of docs/performance.md; run .ci/plot.py --write")
    print(f"the plot shows the {len(aims)} aims of docs/performance.md")


if __name__ == "__main__":
    main()
