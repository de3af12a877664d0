"""Write the archive of a release that has what a reader needs beside the programs: documents, recipes, samples.

usage: documents.py ARCHIVE.tar.gz

The files keep their places, so that links between them work: README.md, RUNBOOK.md, the pages of docs/, the recipes for CDK
and Terraform in deploy/, the samples in events/ and examples/, the schemas, and the package for agents in Python. A link
that leads out of the archive is an error. The bytes depend on nothing but the files (archive.py).
"""

import posixpath
import re
import subprocess
import sys
from pathlib import Path

from archive import write_tar

ROOT = Path(__file__).parent.parent
FOLDER = "agent-trigger"
PARTS = [
    "README.md", "RUNBOOK.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "template.yaml", "tests/FAULTS.md", "tests/DETOURS.md",
    "docs", "deploy", "events", "schemas", "examples/agents", "examples/step-functions", "agents/python",
]  # fmt: skip
# What tools leave in these folders.
LEFT = {"node_modules", "cdk.out", ".terraform", "__pycache__", ".mypy_cache"}
LINK = re.compile(r'\]\(([^)\s]+)\)|\b(?:src|href|srcset)="([^"]+)"')


def files():
    """Return the paths of the files: those that Git knows, or all of them in a copy without Git, as --check makes one."""
    listed = subprocess.run(["git", "ls-files", "-z", "--", *PARTS], cwd=ROOT, capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    if listed.returncode or not names:
        parts = [ROOT / part for part in PARTS]
        found = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*")) if file.is_file()]
        names = [str(file.relative_to(ROOT)) for file in found if not LEFT & set(file.relative_to(ROOT).parts)]
    return sorted(set(names))


def dead_links(names):
    """Yield each link of a page to what is not in the archive."""
    known = set(names) | {str(folder) for name in names for folder in Path(name).parents}
    for name in names:
        if not name.endswith(".md"):
            continue
        for found in LINK.findall((ROOT / name).read_text()):
            target = (found[0] or found[1]).partition("#")[0]
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if target and not re.match(r"[a-z]+:", target) and path not in known:
                yield f"{name}: {target}"


def main():
    (archive,) = sys.argv[1:]
    names = files()
    dead = list(dead_links(names))
    if dead:
        sys.exit("these links lead out of the archive of documents: " + ", ".join(dead))
    entries = []
    for name in names:
        path = ROOT / name
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        entries.append((f"{FOLDER}/{name}", mode, path.read_bytes()))
    write_tar(archive, entries)
    print(f"{archive}: {len(names)} files")


if __name__ == "__main__":
    main()
