"""`nexus read` and `nexus write`: one device, once."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from gateway import drivers
from gateway.commands.request import check
from gateway.commands.writing import confirmed
from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import DeviceError, DeviceSession, Tag
from nexus.contract.reading import Quality, Reading, Value
from nexus.process.errors import ConfigError

CONNECT_SECONDS = 15.0
HUNG_AFTER_TIMEOUTS = 10  # a scan may be many requests, each with the device's timeout
AT_ONCE = 100  # devices that are read at the same moment

Row = tuple[str, ...]
HEAD: Row = ("tag", "value", "unit", "quality", "time", "")


def chosen(
    configured: Sequence[ConfiguredDevice], device: str, tags: Sequence[str] = ()
) -> tuple[ConfiguredDevice, list[Tag]]:
    """A device by its name, and some of its tags; all if none are named. Raises ConfigError."""
    found = next((one for one in configured if one.device.name == device), None)
    if found is None:
        known = ", ".join(one.device.name for one in configured)
        raise ConfigError(f"there is no device {device!r}; known: {known}")
    by_name = {tag.name: tag for tag in found.device.tags}
    if derived := [tag.name for tag in found.derived if tag.name in tags]:
        raise ConfigError(f"tag {derived[0]} is derived by the gateway, and the device knows nothing of it")
    if unknown := [name for name in tags if name not in by_name]:
        raise ConfigError(f"{device} has no tag {unknown[0]!r}; known: {', '.join(by_name)}")
    return found, [by_name[name] for name in tags] or list(by_name.values())


async def read(one: ConfiguredDevice, tags: Sequence[Tag], bad: list[str]) -> list[str]:
    """A table of the device's current values; tags of bad quality are added to `bad`. Raises DeviceError."""
    return table([HEAD, *await _read(one, tags, bad)])


async def read_all(configured: Sequence[ConfiguredDevice], bad: list[str]) -> list[str]:
    """A table of all devices' current values; tags of bad quality, and lost devices, are added to `bad`."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def rows(one: ConfiguredDevice) -> list[Row]:
        name = one.device.name
        try:
            async with turns:
                return [(name, *row) for row in await _read(one, one.device.tags, bad)]
        except DeviceError as error:
            reason = str(error)
        except Exception as error:  # a fault in a driver affects its device only
            reason = f"internal error in {drivers.whose(one.device.protocol)}: {error!r}"
        bad.append(name)
        return [(name, "", "", "", "lost", "", reason)]

    found = await asyncio.gather(*(rows(one) for one in configured))
    return table([("device", *HEAD), *(row for some in found for row in some)])


async def _read(one: ConfiguredDevice, tags: Sequence[Tag], bad: list[str]) -> list[Row]:
    async with AsyncExitStack() as stack:
        session = await connected(one, stack)
        try:
            async with asyncio.timeout(one.device.timeout * HUNG_AFTER_TIMEOUTS):
                readings = {reading.tag: reading for reading in await session.compile(tags)()}
        except TimeoutError:
            raise DeviceError(f"{one.device.name} does not answer to the end") from None
        bad += [tag.name for tag in tags if readings[tag.name].quality < Quality.UNCERTAIN]
        return [_row(tag, readings[tag.name], session.tag_errors.get(tag.name, "")) for tag in tags]


async def write(one: ConfiguredDevice, tag: Tag, value: Value) -> list[str]:
    """Writes a value, and shows what is read back. Raises WriteError and DeviceError."""
    check(tag, value)
    async with AsyncExitStack() as stack:
        session = await connected(one, stack)
        written = await confirmed(session.compile((tag,)), session.write, tag, value, one.device.timeout)
        if not written.ok or written.reading is None:
            raise DeviceError(written.error or "written, but the value cannot be read back")
        return table([HEAD, _row(tag, written.reading, "")])


async def connected(one: ConfiguredDevice, stack: AsyncExitStack) -> DeviceSession:
    """A session with the device, for as long as `stack` lasts. Raises DeviceError."""
    try:
        async with asyncio.timeout(max(CONNECT_SECONDS, one.device.timeout)):
            return await stack.enter_async_context(one.driver.connect(one.device))
    except TimeoutError:
        raise DeviceError(f"no connection to {one.device.name} in time") from None


def value(text: str) -> Value:
    """Parses a value as typed: a number, true, false, or else a text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, float | int | bool | str) else text


def table(rows: Sequence[Row]) -> list[str]:
    """Rows with aligned columns."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(tag: Tag, reading: Reading, refusal: str) -> Row:
    quality = {Quality.GOOD: "good", Quality.UNCERTAIN: "uncertain", Quality.BAD: "bad"}
    value = reading.value
    shown = "" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
    moment = datetime.fromtimestamp(reading.time / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    named = quality.get(Quality(reading.quality), str(reading.quality))
    return tag.name, shown, tag.unit or "", named, moment, refusal if named == "bad" else ""
