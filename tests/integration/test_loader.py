"""Changed device files are checked in a process of their own."""

import asyncio
import gc
import sys
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.config import device_files
from gateway.config import devices as config
from gateway.config import loader as loading
from gateway.config.loader import Loader
from nexus.process.errors import ConfigError

PLANT = "devices: [{name: a, protocol: modbus-tcp, host: h, tags: [{name: t, address: 'coil:1'}]}]"


def test_a_reload_changes_only_what_changed(tmp_path: Path) -> None:
    file, kept = tmp_path / "plant.yaml", tmp_path / "state" / "kept.json"
    more = "on_change: true, alarms: [{{name: a, when: t == 1, suppressed_by: n > 3}}]}}, {{name: n, count: t}}"
    one = (
        "  - {{name: {0}, protocol: {1}, host: 127.0.0.1, tags: [{{name: t, address: {2}, unit: '°C', " + more + "]}}\n"
    )
    same = "".join(one.format(f"d{number}", "modbus-tcp", "'holding:40001:float32'") for number in range(200))
    file.write_text("devices:\n" + same + one.format("last", "modbus-tcp", "'coil:1'"), encoding="utf-8")
    before = config.load(file)
    file.write_text("devices:\n" + same + one.format("last", "s7", "MW0:INT"), encoding="utf-8")
    loader = Loader(file, "DEVICE_", kept)
    after = asyncio.run(loader.load(before))
    assert [one.device.name for one in after] == [one.device.name for one in before]
    assert all(new is old for new, old in zip(after[:-1], before[:-1], strict=True))
    assert after == config.load(file)
    assert device_files.kept_files(kept) == {file: file.read_bytes()}
    assert kept.stat().st_mode & 0o777 == 0o600
    file.write_text("devices: [{name: a}]")
    with pytest.raises(ConfigError, match="key 'protocol' is missing"):
        asyncio.run(loader.load(before))
    assert device_files.kept_files(kept) != {file: file.read_bytes()}


def test_devices_that_changed_together_share_their_equal_tags(tmp_path: Path) -> None:
    one = "  - {{name: d{0}, protocol: modbus-tcp, host: {1}, tags: [{{name: t, address: 'coil:1', {2}}}]}}\n"
    alarms = "alarms: [{name: a, when: t}]"
    file = tmp_path / "plant.yaml"
    file.write_text("devices:\n" + "".join(one.format(number, "old", alarms) for number in range(100)))
    before = config.load(file)
    file.write_text("devices:\n" + "".join(one.format(number, "new", alarms) for number in range(100)))
    after = asyncio.run(Loader(file, "DEVICE_", None).load(before))
    assert len({id(one) for one in after}) == 100
    assert len({id(one.device.tags[0]) for one in after}) == 1
    assert len({id(one.alarms[0]) for one in after}) == 1


def test_a_check_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plant.yaml").write_text(PLANT)
    loader = Loader(tmp_path / "plant.yaml", "DEVICE_", None)
    monkeypatch.setattr(loading, "MOST_SECONDS", 0.01)
    with pytest.raises(ConfigError, match=r"cannot be checked within 0\.01 s"):
        asyncio.run(loader.load(()))
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigError, match="cannot be checked: exit code 1"):
        asyncio.run(loader.load(()))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no process can be started: No such file"):
        asyncio.run(loader.load(()))


def test_what_was_there_at_a_reload_can_be_collected_afterwards(tmp_path: Path) -> None:
    """A poller and its device's connection refer to each other: only the collector frees them."""

    class Part:
        other: "Part"

    file, kept = tmp_path / "plant.yaml", weakref.WeakSet[Part]()
    for text in (PLANT, "devices: [{name: a}]"):
        file.write_text(text)
        one, two = Part(), Part()
        one.other, two.other = two, one
        kept.update((one, two))
        with suppress(ConfigError):
            asyncio.run(Loader(file, "DEVICE_", None).load(()))
        del one, two
        gc.collect()
        assert not kept
