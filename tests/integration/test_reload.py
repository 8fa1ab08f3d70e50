"""Device files that change: none of their states is passed over."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.config import watcher
from gateway.config.devices import ConfiguredDevice
from gateway.config.watcher import ConfigWatcher
from nexus.process import supervisor

DEVICES = "devices: [{{name: {0}, protocol: modbus-tcp, host: 127.0.0.1, tags: [{{name: t, address: 'coil:1'}}]}}]"


@pytest.mark.parametrize("fails_in", ["loading", "taking"])
async def test_what_could_not_be_taken_is_a_problem_and_tried_again(
    fails_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(watcher, "AGAIN_SECONDS", 0.05)
    file = tmp_path / "plant.yaml"
    file.write_text(DEVICES.format("old"))

    watch, taken, problems = ConfigWatcher(file, "DEVICE_", tmp_path / "kept.json"), asyncio.Event(), list[str]()
    watch.start()
    load, faults = watch._loader.load, ["once"]

    async def loaded(current: tuple[ConfiguredDevice, ...]) -> tuple[ConfiguredDevice, ...]:
        if fails_in == "loading" and faults:
            raise RuntimeError(faults.pop())
        problems.extend(watch.problems())
        return await load(current)

    def on_change(changed: tuple[ConfiguredDevice, ...]) -> None:
        if fails_in == "taking" and faults:
            raise RuntimeError(faults.pop())
        assert [one.device.name for one in changed] == ["new"]
        taken.set()

    monkeypatch.setattr(watch._loader, "load", loaded)
    file.write_text(DEVICES.format("new"))
    async with asyncio.TaskGroup() as group:
        running = supervisor.keep(group, "file", lambda: watch.run(on_change), name="reload")
        async with asyncio.timeout(30):
            await taken.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert len(problems) == 1
    assert "cannot be taken now" in problems[0]
    assert watch.problems() == []
