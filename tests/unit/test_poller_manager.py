"""Pollers are started and stopped, whatever drivers do."""

import asyncio
from pathlib import Path

import pytest

from gateway.config import devices as config
from gateway.config.devices import ConfiguredDevice
from gateway.polling import poller_manager
from gateway.polling.intake import Intake
from gateway.polling.poller_manager import PollerManager
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from nexus.process.errors import InvariantError

DEVICE = "devices: [{name: a, protocol: modbus-tcp, host: 127.0.0.1, tags: [{name: t, address: 'coil:1'}]}]"


def intake(one: ConfiguredDevice) -> Intake:
    return Intake(one, lambda *_: None, tally=Tally())


class Stubborn:
    """A poller; the driver of device a swallows that it is cancelled, until it is let go."""

    free: asyncio.Event

    def __init__(self, configured: ConfiguredDevice, *_: object, **__: object) -> None:
        self.configured = configured

    async def run(self) -> None:
        if self.configured.device.name != "a":
            await asyncio.sleep(3600)
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize("cut_short", [False, True])
async def test_a_stubborn_driver_does_not_hold_up_the_stop(
    cut_short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_manager, "Poller", Stubborn)
    (tmp_path / "a.yaml").write_text(DEVICE)
    configured = config.load(tmp_path)

    Stubborn.free = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        polling = PollerManager(
            group,
            intake,
            lambda *_: None,
            lambda: True,
            Slots(),
            on_start=lambda _: None,
            on_release=lambda _: None,
        )
        await polling.apply(configured)
        await asyncio.sleep(0)
        if cut_short:  # while the device was being let go of already
            applying = group.create_task(polling.apply([]))
            await asyncio.sleep(0.01)
            applying.cancel()
            await asyncio.wait([applying])
            with pytest.raises(InvariantError, match="a would be polled twice at once"):
                await polling.apply(configured)
        assert not await polling.stop(0.1)
        Stubborn.free.set()
        assert await polling.stop(5)


async def test_a_driver_that_hangs_holds_up_no_other_device_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configured(timeout: str) -> tuple[ConfiguredDevice, ...]:
        devices = [
            DEVICE.partition("[")[2][:-1].replace("name: a", f"name: {name}, timeout: {timeout}") for name in "ab"
        ]
        (tmp_path / "a.yaml").write_text(f"devices: [{', '.join(devices)}]")
        return config.load(tmp_path)

    monkeypatch.setattr(poller_manager, "Poller", Stubborn)
    Stubborn.free = asyncio.Event()
    told: list[str] = []

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        polling = PollerManager(
            group,
            intake,
            lambda *_: None,
            lambda: True,
            Slots(),
            on_start=lambda one: told.append(f"{one.device.name} started"),
            on_release=lambda one: told.append(f"{one.device.name} released"),
        )
        await polling.apply(configured("1s"))
        await asyncio.sleep(0)
        a, b = new = configured("2s")
        applying = group.create_task(polling.apply(new))
        while (found := polling.poller("b")) is None or found.configured is not b:
            await asyncio.sleep(0.01)
        assert told[2:] == ["b released", "b started"]
        assert polling.poller("a") is None
        assert not applying.done()
        Stubborn.free.set()
        await applying
        found = polling.poller("a")
        assert found is not None
        assert found.configured is a
        assert told[4:] == ["a released", "a started"]
        await polling.stop(5)
