"""Compare the table of roles in docs/security.md with the template: `security.py TRANSLATED`; `--write` writes it.

TRANSLATED is what template.py wrote for the template.
"""

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs/security.md"
TABLE = re.compile(r"(?<=<!-- roles: made by \.ci/security\.py -->\n).*?(?=<!-- /roles -->)", re.S)
NO_VALUE = {"Ref": "AWS::NoValue"}


def listed(value):
    return value if isinstance(value, list) else [value]


def branches(value, sometimes=False):
    """Yield each value that is not AWS::NoValue, and whether only some parameters bring it."""
    if isinstance(value, dict) and set(value) == {"Fn::If"}:
        for branch in value["Fn::If"][1:]:
            yield from branches(branch, True)
    elif value != NO_VALUE:
        yield value, sometimes


def words(resource):
    """Return a resource in words: the names in it that the template defines."""
    if resource == "*":
        return "`*`, as AWS names no resource"
    names = re.findall(r'"Ref": "(\w+)"|"Fn::GetAtt": \["(\w+)", "(\w+)"\]|\$\{([A-Z]\w*)', json.dumps(resource))
    known = [ref or attribute or name for ref, attribute, _, name in names]
    return ", ".join(dict.fromkeys(f"`{name}`" for name in known if name != "AWS"))


def rows(template):
    for name, role in template["Resources"].items():
        if role["Type"] != "AWS::IAM::Role":
            continue
        policies = [policy["PolicyDocument"] for policy in role["Properties"].get("Policies", [])]
        for other in template["Resources"].values():
            if other["Type"] == "AWS::IAM::RolePolicy" and other["Properties"]["RoleName"] == {"Ref": name}:
                policies.append(other["Properties"]["PolicyDocument"])
        for statement in (one for policy in policies for one in listed(policy["Statement"])):
            for given, sometimes in branches(statement):
                actions = [f"`{action}`" for part in listed(given["Action"]) for action, _ in branches(part)]
                resources = [words(one) for part in listed(given["Resource"]) for one, _ in branches(part)]
                on = ", ".join(dict.fromkeys(resources)) + ("; sometimes" if sometimes else "")
                yield f"| `{name}` | {given['Sid']} | {', '.join(actions)} | {on} |"


def main():
    *options, translated = sys.argv[1:]
    found = list(rows(json.loads(Path(translated).read_text())))
    table = "\n".join(["| role | for | actions | on |", "| --- | --- | --- | --- |", *found, ""])
    text = PAGE.read_text()
    if options == ["--write"]:
        PAGE.write_text(TABLE.sub(lambda _: table, text))
    elif TABLE.findall(text) != [table]:
        print(f"{PAGE.name}: the table of roles is not the template's. `.ci/security.py --write` writes this one:\n{table}")
        return 1
    print(f"{PAGE.name}: {len(found)} statements of roles, as in the template")
    return 0


if __name__ == "__main__":
    sys.exit(main())
