"""Check that template.yaml stands in the parts that its own table of contents names.

usage: parts.py

The parameters stand in the order and under the headings of the groups in Metadata. The resources and the outputs stand under
the headings of the table, in its order. Where the table names a parameter, each resource of the part has a condition on it, so
that a reader who does not set it may leave out the part.
"""

import re
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
ENTRY = re.compile(r"^# +(\d+\. [^,\n]+?)(?:, by ([\w ]+))?$", re.M)
HEADING = re.compile(r"^  # -{5} (.+?) -+$")
NAME = re.compile(r"^  (\w+):$")


def under_headings(lines, start):
    """Return the headings of a top-level member with the names that stand under each, in their order."""
    found = {}
    for line in lines[lines.index(f"{start}:") + 1 :]:
        if re.match(r"\w", line):
            break
        if heading := HEADING.match(line):
            if heading[1] in found:
                sys.exit(f"FAILED: template.yaml: {start} has the heading {heading[1]!r} twice")
            found[heading[1]] = []
        elif name := NAME.match(line):
            if not found:
                sys.exit(f"FAILED: template.yaml: {name[1]} in {start} stands under no heading")
            found[list(found)[-1]].append(name[1])
    return found


def rests_on(template, condition, seen=()):
    """Return the parameters on which a condition rests, through other conditions too."""
    text = str(template["Conditions"][condition])
    names = set(re.findall(r"'Ref': '(\w+)'", text))
    for other in set(re.findall(r"'Condition': '(\w+)'", text)) - {condition, *seen}:
        names |= rests_on(template, other, (*seen, condition))
    return names


def problems(text):
    template, lines = yaml_parse(text), text.splitlines()
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    wanted = {group["Label"]["default"]: group["Parameters"] for group in groups}
    parameters = under_headings(lines, "Parameters")
    if list(parameters.items()) != list(wanted.items()):
        yield "the parameters do not stand in the order and under the headings of the groups in Metadata"

    entries = dict(ENTRY.findall(text[: text.index("AWSTemplateFormatVersion")]))
    resources, outputs = under_headings(lines, "Resources"), under_headings(lines, "Outputs")
    if list(resources) != list(entries):
        yield f"the headings of the resources, {list(resources)}, are not those of the table, {list(entries)}"
    if list(outputs) != [heading for heading in entries if heading in outputs]:
        yield f"the headings of the outputs, {list(outputs)}, are not in the order of the table"
    for heading, names in resources.items():
        switches = set((entries.get(heading) or "").split(" and ")) - {""}
        for name in names if switches else []:
            condition = template["Resources"][name].get("Condition")
            if condition is None or not switches <= rests_on(template, condition):
                yield f"{name} stands under {heading!r} and does not depend on {' and '.join(sorted(switches))}"


def main():
    found = list(problems((ROOT / "template.yaml").read_text()))
    print("\n".join(f"template.yaml: {problem}" for problem in found) or "template.yaml stands in the parts of its table")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
