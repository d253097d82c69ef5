#!/usr/bin/env python3
"""Collects the licences of all crates that are linked into the binary: licences.py DIRECTORY

Writes `third-party-licences.txt`, with each text once. A crate without a licence file is named with
its licence alone; one without a licence is an error.
"""

import collections
import json
import pathlib
import subprocess
import sys

PREFIXES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
# A text that is longer is no licence.
LONGEST = 200_000


def linked_crates():
    """(name, version, licence expression, directory) of the crates in the binary without features."""
    said = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host()],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    metadata = json.loads(said)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    reached, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        for dependency in nodes[node]["deps"]:
            kinds = [kind["kind"] for kind in dependency["dep_kinds"]]
            if None in kinds and dependency["pkg"] not in reached:
                reached.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    for package in sorted((packages[key] for key in reached), key=lambda package: package["name"]):
        licence = package["license"] or (package["license_file"] and "see its text")
        if not licence:
            sys.exit(f"licences.py: {package['name']} has no licence")
        yield package["name"], package["version"], licence, pathlib.Path(package["manifest_path"]).parent


def host():
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line.removeprefix("host: ") for line in said.splitlines() if line.startswith("host: "))


def texts(directory):
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.name.lower().startswith(PREFIXES) and path.suffix != ".rs":
            if path.stat().st_size <= LONGEST:
                yield path.read_text(errors="replace").strip()


def third_party(crates):
    lines = ["The crates that are linked into s3proxy, and their licences.", ""]
    users = collections.OrderedDict()
    for name, version, licence, directory in crates:
        lines.append(f"{name} {version}: {licence}")
        for text in texts(directory):
            users.setdefault(text, []).append(f"{name} {version}")
    for text, names in users.items():
        lines += ["", "=" * 100, f"The licence of {', '.join(names)}:", "", text]
    return "\n".join(lines) + "\n"


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "third-party-licences.txt").write_text(third_party(linked_crates()))


if __name__ == "__main__":
    main()
