"""`nexus read` and `nexus write`: one device, once."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from gateway.config import Configured
from gateway.driver import DeviceError, Link, Tag
from gateway.request import check
from gateway.writing import confirmed
from nexus.contract.reading import Quality, Reading, Value
from nexus.runtime.errors import ConfigError

CONNECT_SECONDS = 15.0


def chosen(configured: Sequence[Configured], device: str, tags: Sequence[str] = ()) -> tuple[Configured, list[Tag]]:
    """A device by its name, and some of its tags; all if none are named. Raises ConfigError."""
    found = next((one for one in configured if one.device.name == device), None)
    if found is None:
        known = ", ".join(one.device.name for one in configured)
        raise ConfigError(f"there is no device {device!r}; known: {known}")
    by_name = {tag.name: tag for tag in found.device.tags}
    if unknown := [name for name in tags if name not in by_name]:
        raise ConfigError(f"{device} has no tag {unknown[0]!r}; known: {', '.join(by_name)}")
    return found, [by_name[name] for name in tags] or list(by_name.values())


async def read(one: Configured, tags: Sequence[Tag], bad: list[str]) -> list[str]:
    """A table of what the device says now; tags of bad quality are added to `bad`. Raises DeviceError."""
    async with AsyncExitStack() as stack:
        link = await connected(one, stack)
        readings = {reading.tag: reading for reading in await link.read(tags)}
        bad += [tag.name for tag in tags if readings[tag.name].quality < Quality.UNCERTAIN]
        rows: list[tuple[str, ...]] = [("tag", "value", "unit", "quality", "time", "")]
        rows += [_row(tag, readings[tag.name], link.refusals.get(tag.name, "")) for tag in tags]
        return table(rows)


async def write(one: Configured, tag: Tag, value: Value) -> list[str]:
    """Writes, and says what is read back. Raises WriteError and DeviceError."""
    check(tag, value)
    async with AsyncExitStack() as stack:
        link = await connected(one, stack)
        written = await confirmed(link.read, link.write, tag, value, one.device.timeout)
        if not written.ok or written.reading is None:
            raise DeviceError(written.error or "written, but the value cannot be read back")
        return table([("tag", "value", "unit", "quality", "time", ""), _row(tag, written.reading, "")])


async def connected(one: Configured, stack: AsyncExitStack) -> Link:
    """A link to the device, for as long as `stack` lasts. Raises DeviceError."""
    try:
        async with asyncio.timeout(max(CONNECT_SECONDS, one.device.timeout)):
            return await stack.enter_async_context(one.driver.connect(one.device))
    except TimeoutError:
        raise DeviceError(f"no connection to {one.device.name} in time") from None


def value(text: str) -> Value:
    """A value as it is typed: a number, true, false, or else a text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, float | int | bool | str) else text


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with aligned columns."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(tag: Tag, reading: Reading, refusal: str) -> tuple[str, ...]:
    quality = {Quality.GOOD: "good", Quality.UNCERTAIN: "uncertain", Quality.BAD: "bad"}
    shown = "" if reading.value is None else f"{reading.value}"
    moment = datetime.fromtimestamp(reading.time / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    named = quality.get(Quality(reading.quality), str(reading.quality))
    return tag.name, shown, tag.unit or "", named, moment, refusal if named == "bad" else ""
