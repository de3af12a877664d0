"""Check that every schema of schemas/ holds for the event of its name in events/, and that the pipe says what it says.

usage: schemas.py
"""

import json
import re
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent


def members(value):
    """The names in an object, and in the objects in it, without their values."""
    return {name: members(inner) for name, inner in value.items()} if isinstance(value, dict) else {}


def described(schema):
    return {name: described(inner) for name, inner in schema.get("properties", {}).items()}


def problems():
    schemas = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "schemas").glob("*.json"))}
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        event = json.loads((ROOT / "events" / name).read_text())
        for error in validator.iter_errors(event):
            yield f"events/{name}: {error.json_path}: {error.message}"
        if validator.is_valid({**event, "detail": {}}):
            yield f"schemas/{name}: holds for an event that says nothing"

    pipe = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["OutboxPipe"]["Properties"]
    for criterion in pipe["SourceParameters"]["FilterCriteria"]["Filters"]:
        json.loads(criterion["Pattern"])
    said = members(json.loads(re.sub(r"<[^>]*>", '""', pipe["TargetParameters"]["InputTemplate"])))
    if said != described(schemas["execution-status-change.json"]["properties"]["detail"]):
        yield "template.yaml: OutboxPipe's InputTemplate and schemas/execution-status-change.json differ in their members"


def main():
    found = list(problems())
    print("\n".join(found) or "every event is as its schema says, and the pipe says what the schema has")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
