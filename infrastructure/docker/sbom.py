"""Prints the image's bill of materials, CycloneDX 1.6: Python's packages, those of the pages, and Debian's.

    /opt/nexus/bin/python sbom.py ORIGINS

Run in the build; ORIGINS is minimal.py's.
"""

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import distribution, distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import quote


def main(origins: Path) -> None:
    found = [*_python(), *_pages(), *_debian(origins.read_text().splitlines())]
    own = {"type": "container", "name": "nexus-edge", "version": version("nexus-edge")}
    components = sorted(found, key=lambda one: str(one["purl"]))
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": own}}
    json.dump({**bill, "components": components}, sys.stdout, indent=1)


def _component(kind: str, name: str, number: str, license_: str | None = None) -> dict[str, Any]:
    purl = f"pkg:{kind}/{quote(name)}@{quote(number)}"
    made: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl}
    return made | ({"licenses": [{"expression": license_}]} if license_ else {})


def _python() -> list[dict[str, Any]]:
    packages = [
        _component(
            "pypi", re.sub("[-_.]+", "-", one.metadata["Name"]).lower(), one.version, one.metadata["License-Expression"]
        )
        for one in distributions()
    ]
    return [*packages, _component("generic", "python", platform.python_version(), "PSF-2.0")]


def _pages() -> list[dict[str, Any]]:
    """What is built into the console's pages."""
    noted = Path(str(distribution("nexus-edge").locate_file("console/web/dist/licences.json")))
    return [_component("npm", one["name"], one["version"], one["licence"]) for one in json.loads(noted.read_text())]


def _debian(files: list[str]) -> list[dict[str, Any]]:
    """The packages of these files; Python built from source, as in its official image, belongs to none."""
    names = set()
    for file in files:
        # dpkg knows some under /lib, others under /usr/lib, which are one.
        for known in (file, str(Path(file).resolve()), str(Path(file).resolve()).removeprefix("/usr")):
            said = subprocess.run(["dpkg", "-S", known], capture_output=True, text=True, check=False).stdout
            if owners := [line for line in said.splitlines() if not line.startswith("diversion by")]:
                names.add(owners[0].rpartition(": ")[0].split(", ")[0])
                break
    form = "${Package} ${Version}\n"
    shown = subprocess.run(["dpkg-query", "-W", "-f", form, *sorted(names)], capture_output=True, text=True, check=True)
    return [_component("deb/debian", *line.split(" ")) for line in shown.stdout.splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
