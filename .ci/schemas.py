"""Check that each event in events/ fits the schema of its name in schemas/, that the pipes send what it describes, and that
the triggers in the documents fit theirs.

usage: schemas.py
"""

import json
import re
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent

# The schemas of events that come in, each with its samples. All others describe what the pipes announce.
INPUTS = {"scheduled.json": ["scheduled.json", "stored.json", "minimal.json", "everything.json"]}

# What is written in files, and no event: tests/properties/trigger_schema.rs holds it against the function's reader.
FILES = ["trigger.json"]

# A block of JSON in a document.
BLOCK = re.compile(r"^```json\n(.*?)^```$", re.M | re.S)

# The most filters that a pipe accepts.
MOST_FILTERS = 5

# The changes of a trigger's health that are announced; all others are not. None means that the item has no health, or
# that there is no item.
HEALTHS = [None, "ok", "failing", "paused"]
TOLD = {
    *((before, "failing") for before in [None, "ok", "paused"]),
    *((before, "paused") for before in [None, "ok", "failing"]),
    *((before, "ok") for before in ["failing", "paused"]),
}


def members(value):
    """Return the names in an object and in the objects inside it, without their values."""
    return {name: members(inner) for name, inner in value.items()} if isinstance(value, dict) else {}


def described(schema):
    return {name: described(inner) for name, inner in schema.get("properties", {}).items()}


def matches(pattern, value):
    """Return whether a pipe's pattern matches. It knows only the part of the language that the pipes use."""
    if isinstance(pattern, dict):
        return all(matches(inner, (value or {}).get(name)) for name, inner in pattern.items())
    for wanted in pattern:
        match wanted:
            case {"exists": exists}:
                found = (value is not None) == exists
            case {"prefix": prefix}:
                found = isinstance(value, str) and value.startswith(prefix)
            case _:
                found = value == wanted
        if found:
            return True
    return False


def image(health):
    return {"SK": {"S": "TRIGGER#t"}, **({} if health is None else {"health": {"S": health}})}


def health_problems(filters):
    for before in HEALTHS:
        for after in HEALTHS:
            change = {"Keys": {"SK": {"S": "TRIGGER#t"}}, "OldImage": image(before), "NewImage": image(after)}
            created = {name: value for name, value in change.items() if name != "OldImage"}
            for record in [change] + ([created] if before is None else []):
                told = any(matches(pattern, {"dynamodb": record}) for pattern in filters)
                if told != ((before, after) in TOLD):
                    verb = "announces" if told else "does not announce"
                    yield f"template.yaml: HealthPipe {verb} the change from {before} to {after}"
    for record in [{"Keys": {"SK": {"S": "TRIGGER#t"}}, "OldImage": image("failing")},
                   {"Keys": {"SK": {"S": "EXECUTION#e"}}, "OldImage": image("ok"), "NewImage": image("failing")}]:
        if any(matches(pattern, {"dynamodb": record}) for pattern in filters):
            yield f"template.yaml: HealthPipe announces {record}"


def trigger_problems():
    """Yield what is wrong with the triggers in the documents. A block with an agent and a prompt is a trigger."""
    validator = Draft202012Validator(json.loads((ROOT / "schemas/trigger.json").read_text()))
    count = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in BLOCK.findall(page.read_text()):
            try:
                # A block may show members alone.
                value = json.loads(block if block.startswith(("{", "[")) else f"{{{block}}}")
            except ValueError as error:
                yield f"{page.relative_to(ROOT)}: a block of JSON is none: {error}"
                continue
            if isinstance(value, dict) and {"agentId", "prompt"} <= value.keys():
                count += 1
                for error in validator.iter_errors(value):
                    yield f"{page.relative_to(ROOT)}: {error.json_path}: {error.message}"
    if not count:
        yield "no document has a trigger"


def problems():
    yield from trigger_problems()
    paths = sorted(path for path in (ROOT / "schemas").glob("*.json") if path.name not in FILES)
    schemas = {path.name: json.loads(path.read_text()) for path in paths}
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        for sample in INPUTS.get(name, [name]):
            event = json.loads((ROOT / "events" / sample).read_text())
            for error in validator.iter_errors(event):
                yield f"events/{sample}: {error.json_path}: {error.message}"
            if validator.is_valid({**event, "detail": {}}):
                yield f"schemas/{name}: accepts an event with an empty detail"

    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    pipes = {name: r["Properties"] for name, r in resources.items() if r["Type"] == "AWS::Pipes::Pipe"}
    for name, pipe in pipes.items():
        criteria = pipe["SourceParameters"]["FilterCriteria"]["Filters"]
        filters = [json.loads(criterion["Pattern"]) for criterion in criteria]
        if len(filters) > MOST_FILTERS:
            yield f"template.yaml: {name} has more than {MOST_FILTERS} filters"
        if name == "HealthPipe":
            yield from health_problems(filters)
        said = members(json.loads(re.sub(r"<[^>]*>", '""', pipe["TargetParameters"]["InputTemplate"])))
        detail_type = pipe["TargetParameters"]["EventBridgeEventBusParameters"]["DetailType"]
        schema = f"{detail_type.lower().replace(' ', '-')}.json"
        if said != described(schemas[schema]["properties"]["detail"]):
            yield f"template.yaml: {name}'s InputTemplate and schemas/{schema} differ in their members"
    if len(pipes) != len(schemas) - len(INPUTS):
        yield "there is not one pipe for each schema"


def main():
    found = list(problems())
    print("\n".join(found) or "every event and documented trigger fits its schema, and each pipe sends what its schema describes")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
