"""A driver that is installed works in every process of ours: the command line, and the one that checks changed files."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.devices import load
from gateway.config.loader import Loader
from simulators.fault import Faults
from tests.conformance.devices import KINDS
from tests.conformance.packages import Site


def write(folder: Path, port: int) -> Path:
    file = folder / "plant.yaml"
    tags = "[{name: level, address: level}, {name: none, address: nothing}]"
    file.write_text(f"devices: [{{name: scale, protocol: lines, host: 127.0.0.1, port: {port}, tags: {tags}}}]\n")
    return file


async def test_the_command_line_checks_and_reads(tmp_path: Path, site: Site) -> None:
    path = str(site.install_example().parent)

    async def nexus(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "nexus", *arguments),
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    async with KINDS["example"].serve(0, Faults(set())) as served:
        file = str(write(tmp_path, served.port))
        code, said = await nexus("check", file)
        assert (code, "1 device" in said) == (0, True), said
        code, said = await nexus("read", "scale", "--devices", file)
        assert code == 1, said
        assert "84.5" in said
        assert "no such channel" in said
        code, said = await nexus("schema")
        assert (code, '"lines-whole"' in said) == (0, True)


async def test_a_changed_file_is_checked_with_it(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site.install_example().parent))

    file = write(tmp_path, 7000)
    [before] = load(file)
    loader = Loader(file, "DEVICE_", None)
    [same] = await loader.load((before,))
    assert same is before
    write(tmp_path, 7001)
    [after] = await loader.load((before,))
    assert after.device.settings != before.device.settings
    assert after.driver is before.driver
