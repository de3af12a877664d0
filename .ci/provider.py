"""Check the resources of deploy/terraform against the schema of Terraform's provider for AWS.

usage: provider.py PACKAGE

The provider itself is in no package registry, so `terraform validate` cannot run. PACKAGE is a folder with the declarations of
@cdktf/provider-aws, which are made from the provider's schema: for each type its arguments, which of them are required, and its
attributes. This script also checks that each variable, local value and resource that the module names is declared.
"""

import re
import sys
from pathlib import Path

import hcl2

ROOT = Path(__file__).parent.parent
MODULE = ROOT / "deploy/terraform"
META = {"count", "for_each", "lifecycle", "depends_on", "provider"}
REFERENCE = re.compile(r"\b(?P<data>data\.)?(?P<type>aws_\w+)\.(?P<name>\w+)(?:\[[^]]*\])?(?:\.(?P<attribute>\w+))?")
NAMED = re.compile(r"\b(var|local)\.(\w+)")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def schema(package):
    """Return the arguments, with whether each is required, and the attributes of each type, from the declarations."""
    types = {}
    for path in Path(package).glob("lib/*/index.d.ts"):
        text = path.read_text()
        kind = re.search(r'tfResourceType = "(\w+)"', text)[1]
        config = re.search(r"^export interface \w+ extends cdktf\.TerraformMetaArguments \{(.*?)^\}", text, re.M | re.S)[1]
        arguments = {snake(name): not optional for name, optional in re.findall(r"^    readonly (\w+)(\??):", config, re.M)}
        members = text[text.index("static readonly tfResourceType") :]
        attributes = {snake(name) for name in re.findall(r"^    get (\w+)\(\)", members, re.M) if not name.endswith("Input")}
        types["data." * path.parent.name.startswith("data-") + kind] = (arguments, attributes)
    return types


def unquoted(name):
    return name.strip('"')


def blocks(parsed, kind):
    """Yield the type, the name and the content of each block such as `resource`."""
    for block in parsed.get(kind, []):
        for type_name, named in block.items():
            if isinstance(named, dict):
                for name, content in named.items():
                    yield unquoted(type_name), unquoted(name), content


def problems(types):
    files = {path: path.read_text() for path in sorted(MODULE.glob("*.tf"))}
    parsed = [hcl2.loads(text) for text in files.values()]
    declared, resources = set(), set()
    for file in parsed:
        declared |= {("var", unquoted(name)) for block in file.get("variable", []) for name in block}
        declared |= {("local", name) for block in file.get("locals", []) for name in block}
        for kind, prefix in (("resource", ""), ("data", "data.")):
            for type_name, name, content in blocks(file, kind):
                type_name = prefix + type_name
                resources.add(f"{type_name}.{name}")
                if type_name not in types:
                    yield f"{type_name}: no such type in the declarations"
                    continue
                arguments = types[type_name][0]
                given = {key for key in content if not key.startswith("__")} - META
                yield from (f"{type_name}.{name} has no argument {key}" for key in sorted(given - arguments.keys()))
                needed = {key for key, required in arguments.items() if required}
                yield from (f"{type_name}.{name} needs the argument {key}" for key in sorted(needed - given))
    for path, text in files.items():
        # Descriptions of variables are prose.
        code = re.sub(r"^ *#.*$|^ *description = .*$", "", text, flags=re.M)
        for kind, name in NAMED.findall(code):
            if (kind, name) not in declared:
                yield f"{path.name}: {kind}.{name} is not declared"
        for found in REFERENCE.finditer(code):
            type_name = (found["data"] or "") + found["type"]
            if f"{type_name}.{found['name']}" not in resources:
                yield f"{path.name}: {found[0]} is not declared"
            elif found["attribute"] and found["attribute"] not in types[type_name][1]:
                yield f"{path.name}: {type_name} has no attribute {found['attribute']}"


def main():
    types = schema(sys.argv[1])
    found = list(problems(types))
    print("\n".join(found) or f"the Terraform module fits {', '.join(sorted(types))}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
