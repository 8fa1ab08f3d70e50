"""Readings to payloads and back: one tag a message, or one device's scan a message."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from nexus.contract import topic as topics
from nexus.contract.reading import Quality, Reading, Value

_WORDS = {Quality.GOOD: "good", Quality.UNCERTAIN: "uncertain", Quality.BAD: "bad"}
_NUMBERS = {word: int(number) for number, word in _WORDS.items()}
_GOOD = int(Quality.GOOD)
_LARGEST_INT = 2**64 - 1  # what JSON readers, and msgspec's own, carry exactly

State = Literal["online", "degraded", "offline"]


class DecodeError(ValueError):
    """The payload is not one of ours; the text says where it departs."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """A reading as the historian keys it: by its tag's whole topic. `time` in UTC epoch milliseconds."""

    topic: str
    time: int
    value: Value
    quality: int
    unit: str | None


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One tag of an otherwise good message that could not be read."""

    topic: str
    reason: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """What one payload said; `publisher` and `number` are there if its sender wants receipts."""

    points: list[Point]
    faults: list[Fault]
    publisher: str | None = None
    number: int | None = None


class Status(msgspec.Struct, frozen=True):
    """Retained state of a device; `ts` in UTC epoch milliseconds."""

    state: State
    reason: str
    ts: int


class _TagOut(msgspec.Struct, gc=False, omit_defaults=True):
    v: Value
    q: str | int
    ts: int
    u: str | None = None
    p: str | None = None
    n: int | None = None


class _DeviceOut(msgspec.Struct, gc=False, omit_defaults=True):
    ts: int
    v: dict[str, Value]
    q: dict[str, str | int] = {}
    u: Mapping[str, str] = {}
    t: dict[str, int] = {}
    p: str | None = None
    n: int | None = None


class _In(msgspec.Struct, gc=False):
    """Both formats at once: in a device message the fields are objects keyed by tag."""

    v: dict[str, float | int | bool | str | None] | float | int | bool | str | None
    ts: int | float
    q: dict[str, str | int] | str | int = "good"
    u: dict[str, str] | str | None = None
    t: dict[str, int] | None = None
    p: str | None = None
    n: int | None = None


class _LenientIn(msgspec.Struct, gc=False):
    """A device message whose values are looked at one by one."""

    v: dict[str, msgspec.Raw]
    ts: int | float
    q: dict[str, str | int] = {}
    u: dict[str, str] = {}
    t: dict[str, int] = {}
    p: str | None = None
    n: int | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_In)
_lenient_decoder = msgspec.json.Decoder(_LenientIn)
_value_decoder = msgspec.json.Decoder(float | int | bool | str | None)
_status_decoder = msgspec.json.Decoder(Status)


def encode_tag(
    reading: Reading, unit: str | None = None, publisher: str | None = None, number: int | None = None
) -> bytes:
    """One reading as the payload of its tag's topic."""
    value, quality = _carried(reading.value, reading.quality)
    return _encoder.encode(_TagOut(value, _WORDS.get(quality, quality), reading.time, unit, publisher, number))  # type: ignore[call-overload]


def encode_device(
    readings: Iterable[Reading],
    time: int,
    units: Mapping[str, str] | None = None,
    publisher: str | None = None,
    number: int | None = None,
) -> bytes:
    """One scan, taken at `time` (epoch ms), as the payload of its device's topic.

    Good qualities, and times equal to the scan's, are left out. `units` may name more tags than `readings` holds.
    """
    values: dict[str, Value] = {}
    qualities: dict[str, str | int] = {}
    times: dict[str, int] = {}
    for reading in readings:
        tag, value, quality = reading.tag, reading.value, reading.quality
        # A float that is not finite differs from itself once it is taken from itself.
        if value.__class__ is not bool and (value.__class__ is not float or value - value != 0.0):
            value, quality = _carried(value, quality)
        values[tag] = value
        if quality != _GOOD:
            qualities[tag] = _WORDS.get(quality, quality)  # type: ignore[call-overload]
        if reading.time != time:
            times[tag] = reading.time
    named = {} if not units else units if units.keys() <= values.keys() else _only(units, values)
    return _encoder.encode(_DeviceOut(time, values, qualities, named, times, publisher, number))


def _only(units: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, str]:
    return {tag: unit for tag, unit in units.items() if tag in values}


def decode(topic: str, payload: bytes) -> Message:
    """Reads a payload of either format from `topic`.

    A device message with a few unreadable tags gives its other points, and a `Fault` for each of those.
    Raises DecodeError when nothing of it can be used.
    """
    try:
        message = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return _decode_leniently(topic, payload, str(error))
    if isinstance(message.v, dict):
        return _device_message(topic, message, message.v)
    if isinstance(message.q, dict) or isinstance(message.u, dict):
        raise DecodeError("q and u are objects, but v is a single value")
    point = Point(topic, _milliseconds(message.ts), message.v, _quality(message.q), message.u)
    return Message([point], [], message.p, message.n)


def encode_status(status: Status) -> bytes:
    """Payload of a status topic."""
    return _encoder.encode(status)


def decode_status(payload: bytes) -> Status:
    """Reads a status topic's payload. Raises DecodeError."""
    try:
        return _status_decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise DecodeError(str(error)) from error


def _device_message(topic: str, message: _In, values: dict[str, Any]) -> Message:
    if not isinstance(message.q, dict):
        if message.q != "good":
            raise DecodeError("v is an object, so q must be an object too")
        message.q = {}
    if isinstance(message.u, str):
        raise DecodeError("v is an object, so u must be an object too")
    time = _milliseconds(message.ts)
    qualities, units, times = message.q, message.u or {}, message.t or {}
    prefix = topic + "/"
    if not qualities and not times:
        good = int(Quality.GOOD)
        points = [Point(prefix + tag, time, value, good, units.get(tag)) for tag, value in values.items()]
    else:
        points = [
            Point(prefix + tag, times.get(tag, time), value, _quality(qualities.get(tag, "good")), units.get(tag))
            for tag, value in values.items()
        ]
    return _without_bad_names(Message(points, [], message.p, message.n), values, prefix)


def _without_bad_names(message: Message, tags: Iterable[str], prefix: str) -> Message:
    bad = {prefix + tag: fault for tag in tags if (fault := topics.name_fault(tag))}
    if not bad:
        return message
    faults = [Fault(topic, f"the tag's name {fault}") for topic, fault in bad.items()]
    points = [point for point in message.points if point.topic not in bad]
    return Message(points, message.faults + faults, message.publisher, message.number)


def _decode_leniently(topic: str, payload: bytes, reason: str) -> Message:
    """The slow way, for a message that the typed decoder refused: keeps the tags that can be read."""
    try:
        message = _lenient_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise DecodeError(reason) from None
    values: dict[str, Value] = {}
    faults = []
    for tag, raw in message.v.items():
        try:
            values[tag] = _value_decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            faults.append(Fault(f"{topic}/{tag}", str(error)))
    if not values:
        raise DecodeError(reason)
    read = _device_message(topic, _In({}, message.ts, message.q, message.u, message.t, message.p, message.n), values)
    return Message(read.points, faults + read.faults, message.p, message.n)


def _carried(value: Value, quality: int) -> tuple[Value, int]:
    """What JSON can carry of a value: not NaN, not infinities, no integer beyond 64 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, Quality.BAD
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        return float(value), quality
    return value, quality


def _quality(value: str | int) -> int:
    if isinstance(value, str):
        if (number := _NUMBERS.get(value)) is None:
            raise DecodeError(f"quality {value!r} is none of good, uncertain, bad")
        return number
    if 0 <= value <= 255:
        return value
    raise DecodeError(f"quality {value} is not between 0 and 255")


def _milliseconds(value: float) -> int:
    if not math.isfinite(value):
        raise DecodeError("ts is not a finite number")
    return int(value)
