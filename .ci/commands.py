"""Check that every command in the documents is run by CI, or is one against AWS.

Each fenced block of shell is taken apart into its commands. .ci/commands.txt has a line for each kind of command: who
runs it, and how it begins. `AWS` needs an account or AWS's own command line. `step NAME` is a step of .ci/run, `test PATH
NAME` a test. Any other word would be a promise that nothing keeps. The first line that fits counts, and who is named must
be there. The parameters that a `sam deploy` gives are compared with the template's.
"""

import re
import shlex
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
# Every page of the book, wherever it stands.
PAGES = [(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)]+\.md)\)", (ROOT / "docs/SUMMARY.md").read_text())]
BLOCK = re.compile(r"^( *)```(?:sh|bash|shell|console)\n(.*?)^ *```", re.M | re.S)


def commands(block):
    """Yield the commands of a block: one a line, with the lines that a backslash, a quote or a here-document continues."""
    lines = iter(block.splitlines())
    for line in lines:
        here = re.search(r"<<-?'?(\w+)'?", line)
        if here:
            for more in lines:
                if more.strip() == here[1]:
                    break
        while line.endswith("\\") or (line.count("'") % 2 and not line.startswith("#")):
            more = next(lines, None)
            if more is None:
                break
            line = f"{line.removesuffix(chr(92))} {more.strip()}"
        # What stands behind && is a command of its own.
        for part in re.split(r" && (?![^']*'(?:[^']*'[^']*')*[^']*$)", line.strip()):
            if part and not part.startswith("#"):
                yield part


def rules():
    """Yield each line of commands.txt as who runs the command, and how it begins."""
    for line in (ROOT / ".ci/commands.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            who, _, beginning = line.partition(" | ")
            yield who.strip(), beginning.strip()


def unkept(who):
    """Return why this is nobody who runs a command, if so."""
    kind, _, rest = who.partition(" ")
    if who in ("AWS", "itself"):
        return None
    if kind == "step":
        found = re.search(rf"^step ['\"]{re.escape(rest)}['\"]$", (ROOT / ".ci/run").read_text(), re.M)
        return None if found else f".ci/run has no step '{rest}'"
    if kind == "test":
        path, _, name = rest.partition(" ")
        text = (ROOT / path).read_text() if (ROOT / path).is_file() else ""
        return None if re.search(rf"\bfn {name}\(", text) else f"{path} has no test {name}"
    return f"nobody is called {who}"


def overrides(command):
    """Yield each parameter that a `sam deploy` overrides, and its value."""
    _, found, rest = command.partition("--parameter-overrides ")
    for word in shlex.split(rest, comments=True) if found else []:
        if word.startswith("-"):
            break
        name, _, value = word.partition("=")
        yield name, value


def refused(name, value, parameters):
    """Return why CloudFormation would refuse a parameter, if so. A value in capitals stands for one of the reader's own."""
    parameter = parameters.get(name)
    if parameter is None:
        return "the template has no such parameter"
    allowed = [str(one) for one in parameter.get("AllowedValues", [value])]
    if value not in allowed:
        return f"{value} is none of {', '.join(allowed)}"
    is_own = re.fullmatch("[A-Z_]+", value)
    if not is_own and not re.fullmatch(parameter.get("AllowedPattern", "[\\s\\S]*"), value):
        return f"{value} does not match {parameter['AllowedPattern']}"
    return None


def main():
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
    known = list(rules())
    problems, used, count = [], {}, {}
    for page in PAGES:
        for _, block in BLOCK.findall(page.read_text()):
            for command in commands(block):
                for name, value in overrides(command) if command.startswith("sam deploy") else []:
                    why = refused(name, value, parameters)
                    problems.extend([f"{page.relative_to(ROOT)}: {name}: {why}"] if why else [])
                who = next((who for who, beginning in known if command.startswith(beginning)), None)
                if who is None:
                    problems.append(f"{page.relative_to(ROOT)}: who runs this? {command}")
                    continue
                used[who] = command
                kind = "against AWS" if who == "AWS" else "run by CI"
                count[kind] = count.get(kind, 0) + 1
    problems += [f"{reason}: {command}" for who, command in used.items() if (reason := unkept(who))]
    print("\n".join(problems) or ", ".join(f"{number} commands are {kind}" for kind, number in sorted(count.items())))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
