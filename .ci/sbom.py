"""Write the CycloneDX bill of materials of a release: the crates that are linked into its programs.

usage: sbom.py BOM.json TARGET PROGRAM=PACKAGE ...

The crates are those that `cargo tree` finds for each package with its own features, which `cargo metadata` cannot tell:
it adds up the features of the workspace. An example is linked with the development dependencies of its package. The bill
has no random number and no time of its own, so that two builds make the same.
"""

import re
import subprocess
import sys
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).parent.parent
LINE = re.compile(r"(\d+)(\S+) v(\S+)(.*)\t(.*)")


def tree(package, target):
    """Yield each line of a package's tree: its depth, and the crate's name, version and licence."""
    # The package of the local run has examples alone, and these are linked with its development dependencies.
    edges = "normal,no-proc-macro" + (",dev" if package == "agent-trigger-examples" else "")
    command = ["cargo", "tree", "--locked", "--package", package, "--edges", edges, "--target", target]
    command += ["--prefix", "depth", "--format", "{p}\t{l}"]
    for line in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        # A line between two kinds of edges has no depth, such as "[dev-dependencies]".
        if matched := LINE.match(line):
            depth, name, version, _, licence = matched.groups()
            yield int(depth), (name, version), licence.removesuffix(" (*)").replace("/", " OR ")


def main():
    bom_path, target, *programs = sys.argv[1:]
    lock = (ROOT / "Cargo.lock").read_bytes()
    locked = {(p["name"], p["version"]): p for p in tomllib.loads(lock.decode())["package"]}
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    manifest, licence = cargo["package"], cargo["workspace"]["package"]["license"]
    licences, crates, edges = LicenseFactory(), {}, {}

    def crate(key, licence):
        """Return the component of a crate, made when it is first met."""
        if key not in crates:
            name, version = key
            checksum = locked[key].get("checksum")
            crates[key] = Component(
                type=ComponentType.LIBRARY,
                name=name,
                version=version,
                bom_ref=f"{name}@{version}",
                purl=PackageURL("cargo", None, name, version) if checksum else None,
                licenses=[licences.make_from_string(licence)] if licence else [],
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
            )
        return crates[key]

    release = Component(
        type=ComponentType.APPLICATION,
        name=manifest["name"],
        version=manifest["version"],
        bom_ref="release",
        licenses=[licences.make_from_string(licence)],
    )
    edges["release"] = (release, {})
    for argument in programs:
        program, _, package = argument.partition("=")
        ref = f"program {program}"
        component = Component(type=ComponentType.APPLICATION, name=program, version=manifest["version"], bom_ref=ref)
        edges["release"][1][ref] = component
        edges[ref] = (component, {})
        path = []
        for depth, key, licence in tree(package, target):
            part = crate(key, licence)
            edges.setdefault(key, (part, {}))
            del path[depth:]
            above = path[-1] if path else ref
            edges[above][1][key] = part
            path.append(key)

    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{manifest['version']} {lock.hex()}"))
    bom.metadata.component = release
    # The day of the archives: the bill says what is in the release, not when it was made.
    bom.metadata.timestamp = datetime(1980, 1, 1, tzinfo=UTC)
    bom.metadata.tools.components.clear()
    bom.components.update(edges["release"][1].values())
    bom.components.update(crates.values())
    for component, parts in edges.values():
        bom.register_dependency(component, parts.values())
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the bill is no CycloneDX: {error}")
    Path(bom_path).write_text(text + "\n")
    print(f"{bom_path}: {len(crates)} crates in {len(programs)} programs")


if __name__ == "__main__":
    main()
