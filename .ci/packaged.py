"""Write the templates of a release, which take the functions from zips that lie beside them.

usage: packaged.py FOLDER ARCHITECTURE ...

For each ARCHITECTURE (arm64, x86_64) FOLDER gets template.packaged-ARCHITECTURE.yaml, which is template.yaml with two
changes, and template.packaged-ARCHITECTURE.json, which is the same translated into plain CloudFormation, for tools that
do not know SAM's transform. The changes: each function's code is its zip instead of a build, and the parameter
Architecture has one value, because a zip is for one processor. template.packaged.yaml is that of the template's default
processor, or of the first one that is there.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse
from template import ROOT, translate

FUNCTION = "AWS::Serverless::Function"
BUILD = {"BuildMethod", "BuildProperties"}
NOTE = """\
# Made by ./package from template.yaml of version {version}, for {architecture}. To change it, change that one.
# The functions' code is in the zips beside this file: `sam deploy --guided --template-file {name}` uploads them.
"""


def zip_of(function, architecture):
    """Return the name of the zip of a function, which is that of its program."""
    return f"{function['Metadata']['BuildProperties']['Binary']}-{architecture}.zip"


def functions(template):
    return {name: r for name, r in template["Resources"].items() if r["Type"] == FUNCTION}


def expected(template, architecture):
    """Change the parsed template as the text is changed."""
    for function in functions(template).values():
        function["Properties"]["CodeUri"] = zip_of(function, architecture)
        kept = {name: value for name, value in function["Metadata"].items() if name not in BUILD}
        function.pop("Metadata")
        if kept:
            function["Metadata"] = kept
    template["Parameters"]["Architecture"] |= {"Default": architecture, "AllowedValues": [architecture]}
    return template


def indent(line):
    return len(line) - len(line.lstrip())


def block(lines, start):
    """Return the end of the block that begins at this line: its first line and all lines that are indented deeper."""
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or indent(lines[end]) > indent(lines[start])):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return end


def member(lines, start, end, name):
    """Return the line of this member of the block that begins at start."""
    deeper = indent(lines[start]) + 2
    return next(n for n in range(start + 1, end) if re.match(rf" {{{deeper}}}{name}:", lines[n]))


def packaged(text, architecture):
    """Change the text of the template, and keep its comments."""
    template, lines = yaml_parse(text), text.splitlines()
    for name, function in functions(template).items():
        start = lines.index(f"  {name}:")
        properties = member(lines, start, block(lines, start), "Properties")
        code = member(lines, properties, block(lines, properties), "CodeUri")
        lines[code] = f"{' ' * indent(lines[code])}CodeUri: {zip_of(function, architecture)}"
        metadata = member(lines, start, block(lines, start), "Metadata")
        for part in BUILD & set(function["Metadata"]):
            here = member(lines, metadata, block(lines, metadata), part)
            del lines[here : block(lines, here)]
        if block(lines, metadata) == metadata + 1:
            del lines[metadata]
    start = lines.index("  Architecture:")
    for part, value in {"Default": architecture, "AllowedValues": f"[{architecture}]"}.items():
        here = member(lines, start, block(lines, start), part)
        lines[here] = f"    {part}: {value}"
    return "\n".join(lines) + "\n"


def plain(path, codes):
    """Translate a packaged template. The translator wants the code in a bucket, and a local zip is what tools upload."""
    template = translate(path)
    for name, code in codes.items():
        template["Resources"][name]["Properties"]["Code"] = code
    return template


def main():
    folder, *architectures = sys.argv[1:]
    folder, text = Path(folder), (ROOT / "template.yaml").read_text()
    version = re.search(
        r'^name = "agent-trigger"$.*?^version = "(.*?)"$', (ROOT / "Cargo.toml").read_text(), re.M | re.S
    )[1]
    default = yaml_parse(text)["Parameters"]["Architecture"]["Default"]
    first = default if default in architectures else architectures[0]
    for architecture in architectures:
        changed = packaged(text, architecture)
        wanted = expected(yaml_parse(text), architecture)
        if yaml_parse(changed) != wanted:
            sys.exit("template.yaml is not laid out as .ci/packaged.py expects: the packaged template differs from it")
        path = folder / f"template.packaged-{architecture}.yaml"
        path.write_text(NOTE.format(version=version, architecture=architecture, name=path.name) + changed)
        codes = {name: function["Properties"]["CodeUri"] for name, function in functions(wanted).items()}
        path.with_suffix(".json").write_text(json.dumps(plain(path, codes), indent=1) + "\n")
        if architecture == first:
            shutil.copyfile(path, folder / "template.packaged.yaml")
    print(f"{folder}: templates for {', '.join(architectures)}; template.packaged.yaml is for {first}")


if __name__ == "__main__":
    main()
