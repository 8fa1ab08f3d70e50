"""Packages with drivers, as pip would leave them: found by their metadata on the path."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.drivers.installed import GROUP, installed

EXAMPLE = Path(__file__).parents[2] / "docs/examples/own-driver"


class Site:
    """A folder of packages for each, which are on the path until the test ends."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def install(self, name: str, entries: Mapping[str, str], modules: Mapping[str, str]) -> Path:
        """A package with these drivers, and its modules by name, their code; gives where its metadata is."""
        folder = self._folder / name
        metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{protocol} = {module}" for protocol, module in entries.items()]
        (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        for module, code in modules.items():
            (folder / f"{module}.py").write_text(code)
            self._monkeypatch.delitem(sys.modules, module, raising=False)
        self._monkeypatch.syspath_prepend(folder)
        installed.cache_clear()
        return metadata

    def install_example(self) -> Path:
        """The package of the documentation."""
        code = (EXAMPLE / "nexus_lines.py").read_text()
        return self.install("nexus-lines", {"lines": "nexus_lines"}, {"nexus_lines": code})
