"""`nexus read`: what a device says now, as a table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, DeviceSession, Driver, Tag
from gateway.tools import oneshot
from nexus.contract.reading import Reading, Value


class Nothing(BaseModel):
    """A driver that needs no settings."""


VALUES: dict[str, Value] = {"running": True, "alarm": False, "level": 4.5, "name": "True", "broken": None}


async def said() -> list[Reading]:
    return [Reading(tag, 0, value) for tag, value in VALUES.items()]


async def held(_: Tag, value: Value) -> Value:
    return value


@asynccontextmanager
async def connect(_: Device) -> AsyncIterator[DeviceSession]:
    yield DeviceSession(lambda _: said, held)


async def test_values_are_shown_as_they_are_written() -> None:
    tags: tuple[Tag, ...] = tuple(Tag(name, None) for name in VALUES)
    device: Device = Device("plc", "plc", "none", 1.0, Nothing(), tags)
    driver: Driver = Driver({}, lambda *_: None, connect)
    one = ConfiguredDevice(device, driver, BreakerKeys(), PublishOptions("plc", "tag", {}))
    _, *rows = await oneshot.read(one, tags, [])
    assert [row.split()[:2] for row in rows] == [
        ["running", "true"],
        ["alarm", "false"],
        ["level", "4.5"],
        ["name", "True"],
        ["broken", "good"],
    ]
