"""Compare what the CDK construct and the Terraform module deploy with the template.

usage: recipes.py RELEASE CDK_TEMPLATE

RELEASE is a folder with the packaged templates, CDK_TEMPLATE what `cdk synth` made of it without any property. Both
must have the template's parameters, rules, mappings, conditions, resources and outputs to the last property. Only this
may differ: the place of the functions' code and how it is built, what the CDK adds to every stack, and the order of
what a resource depends on.

Terraform evaluates the module's template here, if it is installed. Without it, only the texts of the module are
compared.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hcl2
from template import ROOT, translate

MODULE = ROOT / "deploy/terraform"
# What a stack needs of the bucket to which the CDK uploads: nothing of the template's own.
BOOTSTRAP = {"Parameters": {"BootstrapVersion"}, "Rules": {"CheckBootstrapVersion"}}
# Stands for a bucket, which only a provider makes.
PROBE = """
locals { bucket = "a-bucket" }
output "template" { value = local.template }
output "parameters" { value = local.parameters }
"""
GIVEN = {
    "vpc_subnet_ids": ["subnet-1", "subnet-2"],
    "chain_depth_limit": 3,
    "agent_api_url": "https://agent.example.com",
}
PASSED_ON = {"VpcSubnetIds": "subnet-1,subnet-2", "ChainDepthLimit": "3", "AgentApiUrl": "https://agent.example.com"}


def normal(template):
    """Return the template without what may differ."""
    template = json.loads(json.dumps(template))
    for part, added in BOOTSTRAP.items():
        template[part] = {name: value for name, value in template[part].items() if name not in added}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = "its code"
        metadata = {name: value for name, value in resource.pop("Metadata", {}).items() if not name.startswith("Build")}
        if metadata:
            resource["Metadata"] = metadata
        if "DependsOn" in resource:
            needed = resource["DependsOn"]
            resource["DependsOn"] = sorted(needed) if isinstance(needed, list) else [needed]
    return template


def differences(name, wanted, found):
    """Yield where a template differs from the wanted one."""
    wanted, found = normal(wanted), normal(found)
    for part in sorted(wanted.keys() | found.keys()):
        one, other = wanted.get(part, {}), found.get(part, {})
        if one != other and not (isinstance(one, dict) and isinstance(other, dict)):
            yield f"{name}: {part} is {other!r} instead of {one!r}"
        elif one != other:
            for key in sorted(one.keys() | other.keys()):
                if one.get(key) != other.get(key):
                    how = "is missing" if key not in other else "is added" if key not in one else "differs"
                    yield f"{name}: {part}, {key} {how}"


def unquoted(value):
    return value.strip('"') if isinstance(value, str) else value


def snake(name):
    """Spell a name as deploy/generate does."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def names(files, kind):
    """Return the names of the module's blocks of a kind."""
    return {
        unquoted(name) for file in files for block in file.get(kind, []) for name in block if name != "__is_block__"
    }


def module_problems(template):
    """Yield what the texts of the module lack."""
    files = [hcl2.loads(path.read_text()) for path in sorted(MODULE.glob("*.tf"))]
    settings = {"release", "stack_name", "bucket", "tags"}
    for kind, part in {"variable": "Parameters", "output": "Outputs"}.items():
        have = names(files, kind) - (settings if kind == "variable" else set())
        need = {snake(name) for name in template[part]}
        for name in sorted(have ^ need):
            yield f"terraform: {kind} {name} {'is missing' if name in need else 'is not in the template'}"


def evaluated(release):
    """Return the template and the parameters that the module passes on, without the resources of a provider."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("variables.tf", "settings.tf", "template.tf"):
            shutil.copy(MODULE / name, folder)
        Path(folder, "probe.tf").write_text(PROBE)
        Path(folder, "terraform.tfvars.json").write_text(json.dumps(GIVEN | {"release": str(Path(release).resolve())}))
        for command in (["init"], ["apply", "-auto-approve"]):
            run(["terraform", *command, "-input=false", "-no-color"], folder)
        values = json.loads(run(["terraform", "output", "-json"], folder))
    return json.loads(values["template"]["value"]), values["parameters"]["value"]


def run(command, folder):
    env = {name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE"}
    ended = subprocess.run(command, cwd=folder, env=env | {"CHECKPOINT_DISABLE": "1"}, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(command)}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.stdout


def main():
    release, synthesized = sys.argv[1:]
    # The processor for which .ci/run lets the CDK synthesize: the release may have templates for both.
    packaged = json.loads((Path(release) / "template.packaged-x86_64.json").read_text())
    # The packaged template itself is held against the one that SAM deploys, but for the processor that is fixed in it.
    own = translate(ROOT / "template.yaml")
    own["Parameters"]["Architecture"] = packaged["Parameters"]["Architecture"]
    found = [*differences("packaged", own, packaged)]
    found += differences("cdk", packaged, json.loads(Path(synthesized).read_text()))
    found += module_problems(packaged)
    compared = ["the packaged template", "CDK"]
    if shutil.which("terraform"):
        # Without files for arm64 the module takes the others by itself.
        chosen = {}
        if (Path(release) / "template.packaged-arm64.json").exists():
            chosen = {"Architecture": packaged["Parameters"]["Architecture"]["Default"]}
            GIVEN["architecture"] = chosen["Architecture"]
        template, parameters = evaluated(release)
        found += differences("terraform", packaged, template)
        wanted = PASSED_ON | chosen
        if parameters != wanted:
            found.append(f"terraform: passes on {parameters} instead of {wanted}")
        run(["terraform", "fmt", "-check", "-diff", str(MODULE)], ROOT)
        compared.append("Terraform")
    else:
        print("terraform is not installed: the template that the module passes on is not compared")
    count = {part: len(packaged[part]) for part in ("Resources", "Parameters", "Outputs")}
    print("\n".join(found) or f"{', '.join(compared)}: the same {count} as template.yaml")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
