"""A device is asked nothing while it is not sure that it is still ours."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import create_model

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, DeviceError, DeviceSession, Tag
from gateway.polling import permission
from gateway.polling.intake import Intake
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from nexus.contract.reading import Reading, Value

NO_SETTINGS = create_model("NoSettings")()


async def test_who_may_not_poll_asks_the_device_nothing() -> None:
    asked: list[str] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        asked.append("read")
        return [Reading(tag.name, 0, 1) for tag in tags]

    async def write(tag: Tag, value: Value) -> None:
        asked.append("write")

    @asynccontextmanager
    async def connect(device: Device) -> AsyncIterator[DeviceSession]:
        asked.append("connect")
        yield DeviceSession(lambda tags: partial(read, tags), write)

    may = False
    tag: Tag = Tag("t", None, interval=0.1, writable=True)
    device = Device("d", "d", "fake", 1.0, NO_SETTINGS, (tag,))
    driver: Any = SimpleNamespace(connect=connect)
    configured = ConfiguredDevice(device, driver, BreakerKeys(), PublishOptions("d", "tag", {}))
    intake = Intake(configured, lambda *_: None, tally=Tally())
    poller = Poller(configured, intake, lambda *_: None, lambda: may, Slots())
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(0.4)
    assert asked == []
    may = True
    async with asyncio.timeout(5):
        while asked.count("read") < 2:
            await asyncio.sleep(0.01)
    may = False
    await asyncio.sleep(0.2)
    before = list(asked)
    with pytest.raises(DeviceError):
        await poller.write(tag, 1)
    await asyncio.sleep(0.4)
    assert asked == before
    running.cancel()


async def test_what_was_read_while_the_permission_ended_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "LEAVE_SECONDS", 0.05)
    may, reads, said = True, 0, list[str]()

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal may, reads
        may, reads = False, reads + 1
        return [Reading(tag.name, 0, 1) for tag in tags]

    async def write(_: Tag, value: Value) -> Value:
        return value

    @asynccontextmanager
    async def connect(_: Device) -> AsyncIterator[DeviceSession]:
        yield DeviceSession(lambda tags: partial(read, tags), write)

    device: Device = Device("d", "d", "fake", 1.0, NO_SETTINGS, (Tag("t", None, interval=0.1),))
    driver: Any = SimpleNamespace(connect=connect)
    configured = ConfiguredDevice(device, driver, BreakerKeys(), PublishOptions("d", "tag", {}))
    intake = Intake(configured, lambda *_: said.append("scan"), tally=Tally())
    poller = Poller(configured, intake, lambda *_: None, lambda: may, Slots())
    running = asyncio.create_task(poller.run())
    async with asyncio.timeout(10):
        while not reads:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    running.cancel()
    assert (said, reads) == ([], 1)


async def test_who_may_not_listen_any_more_publishes_nothing_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another gateway has the device: what it tells us, and that we lost it, is not ours to say."""
    monkeypatch.setattr(permission, "LEAVE_SECONDS", 0.2)
    may, is_connected, is_lost = True, False, False
    said: list[str] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        return [Reading(tag.name, 0, 1) for tag in tags]

    async def write(_: Tag, value: Value) -> Value:
        return value

    async def next_changes() -> list[Reading]:
        await asyncio.sleep(0.01)
        if is_lost:
            raise DeviceError("lost")
        return [Reading("t", 0, 1)]

    @asynccontextmanager
    async def connect(_: Device) -> AsyncIterator[DeviceSession]:
        nonlocal is_connected
        is_connected = True
        try:
            yield DeviceSession(lambda tags: partial(read, tags), write, next_changes)
        finally:
            is_connected = False

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    device: Device = Device("d", "d", "fake", 1.0, NO_SETTINGS, (Tag("t", None, interval=0.1),))
    driver: Any = SimpleNamespace(connect=connect)
    configured = ConfiguredDevice(device, driver, BreakerKeys(), PublishOptions("d", "tag", {}))
    intake = Intake(configured, lambda *_: said.append("scan"), tally=Tally())
    poller = Poller(configured, intake, lambda *_: said.append("status"), lambda: may, Slots())
    running = asyncio.create_task(poller.run())
    await until(lambda: said.count("scan") > 3)
    may = False
    said.clear()
    await until(lambda: not is_connected)
    await asyncio.sleep(0.3)
    assert (said, is_connected) == ([], False)
    may = True
    await until(lambda: said.count("scan") > 3)
    may = False
    said.clear()
    is_lost = True
    await until(lambda: not is_connected)
    await asyncio.sleep(0.3)
    assert (said, is_connected) == ([], False)
    running.cancel()
