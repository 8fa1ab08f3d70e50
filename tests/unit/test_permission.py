"""A device is asked nothing while it is not sure that it is still ours."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config import Configured
from gateway.driver import Device, DeviceError, Link, Tag
from gateway.keys import BreakerKeys
from gateway.message import Outlet
from gateway.poller import Poller
from nexus.contract.reading import Reading, Value


def test_who_may_not_poll_asks_the_device_nothing() -> None:
    asked: list[str] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        asked.append("read")
        return [Reading(tag.name, 0, 1) for tag in tags]

    async def write(tag: Tag, value: Value) -> None:
        asked.append("write")

    @asynccontextmanager
    async def connect(device: Device) -> AsyncIterator[Link]:
        asked.append("connect")
        yield Link(read, write)

    async def poll() -> None:
        may = False
        tag = Tag("t", None, interval=0.1, writable=True)
        device = Device("d", "d", "fake", 1.0, None, (tag,))
        driver: Any = SimpleNamespace(connect=connect)
        configured = Configured(device, driver, BreakerKeys(), Outlet("d", "tag", {}))
        poller = Poller(configured, lambda *_: None, lambda *_: None, lambda: may)
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

    asyncio.run(poll())
