"""One write, confirmed: what the tag held before, what it holds after, and whether that is what was asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from gateway.commands.encoding import shown
from gateway.drivers.driver import DeviceError, Read, Tag, WriteError
from nexus.contract.reading import Quality, Reading, Value
from nexus.process.clock import now_ms

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5  # seconds between two reads


Write = Callable[[Tag, Value], Awaitable[Value]]


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write. `was` and `now` in the tag's unit; None is unknown.

    `ok` only if the device was seen to hold the requested value; otherwise `error` says why not. `reading` is the last
    one that was read back. `changed`: nothing was sent, because the tag no longer had the expected value.
    """

    ok: bool
    was: Value
    now: Value
    time: int
    error: str | None = None
    reading: Reading | None = None
    changed: bool = False


async def confirmed(
    read: Read, write: Write, tag: Tag, value: Value, patience: float, *, expected: Value | UnsetType = UNSET
) -> Written:
    """Writes `value`, in the tag's unit, and reads the tag back until it has that value, for up to `patience` seconds.

    With `expected` it first checks that the tag still has that value, and does nothing otherwise.

    Raises WriteError when the value cannot be written or is refused, and DeviceError when nothing was sent.
    """
    raw = tag.raw(value)
    [before] = await read()
    was = _good(before)
    if expected is not UNSET and not _is_as_expected(tag, expected, was):
        said = f"the value has changed: it is {shown(was)}, and {shown(expected)} was expected; nothing was written"
        return Written(False, was, was, before.time, said, before, changed=True)
    try:
        held = await write(tag, raw)
    except WriteError as error:
        if raw == value:
            raise
        scaled = f"scale {tag.scale:g}" + (f" and offset {tag.offset:g}" if tag.offset else "")
        raise WriteError(f"{error} ({shown(value)} by {scaled} is {shown(raw)} in the device)") from None
    except DeviceError as error:
        return Written(False, was, None, now_ms(), f"{error}: it is not known whether the value was written")
    return await _read_back(read, tag.reading(held, 0).value, was, patience)


async def _read_back(read: Read, expected: Value, was: Value, patience: float) -> Written:
    clock = asyncio.get_running_loop().time
    end, pause = clock() + patience, FIRST_PAUSE
    while True:
        try:
            [reading] = await read()
        except DeviceError as error:
            return Written(False, was, None, now_ms(), f"written, but it cannot be read back: {error}")
        now = _good(reading)
        if now is not None and now == expected:
            return Written(True, was, now, reading.time, reading=reading)
        if clock() + pause > end:
            return Written(False, was, now, reading.time, _missed(now, expected), reading)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)


def _is_as_expected(tag: Tag, expected: Value, was: Value) -> bool:
    """Whether nobody can have seen a change: of whole numbers beyond 2^53 people see the digits, as a text."""
    if expected == was or (was is not None and str(expected) == str(was)):
        return True
    if tag.report is None or not isinstance(expected, int | float) or not isinstance(was, int | float):
        return False
    return abs(was - expected) <= tag.report.deadband * (abs(expected) if tag.report.relative else 1)


def _missed(now: Value, expected: Value) -> str:
    if now is None:
        return "written, but the value cannot be read back"
    return f"the device accepted {shown(expected)}, but holds {shown(now)}"


def _good(reading: Reading) -> Value:
    return reading.value if reading.quality >= Quality.UNCERTAIN else None
