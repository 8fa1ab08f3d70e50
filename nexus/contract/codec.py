"""Encodes and decodes readings: a message per tag, or per scan of a device."""

import math
from collections.abc import Iterable, Mapping

import msgspec

from nexus.contract import lenient, sequence
from nexus.contract import topic as topics
from nexus.contract.reading import Quality, Reading, Value

_WORDS = {Quality.GOOD: "good", Quality.UNCERTAIN: "uncertain", Quality.BAD: "bad"}
_NUMBERS = {word: int(number) for number, word in _WORDS.items()}
_GOOD = int(Quality.GOOD)
_LARGEST_INT = 2**64 - 1  # integers that JSON parsers, msgspec's included, keep exactly


class DecodeError(ValueError):
    """The payload is not in our format; the text says where it differs."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """A reading as the historian keys it: by its tag's whole topic. `time` in UTC epoch milliseconds."""

    topic: str
    time: int
    value: Value
    quality: int
    unit: str | None


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One tag of an otherwise good message that could not be read; "" where it has no name."""

    tag: str
    reason: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """The content of one payload, at `time` (UTC epoch ms): values by tag, or by "" where the topic is the tag's own.

    `qualities` has what is not good, `times` what is not `time`. `publisher` and the first and last of its `numbers`
    are there if its sender wants receipts; `misnumbered` if it does, with numbers that cannot be. `hops` counts the
    rules that it has come through.
    """

    topic: str
    time: int
    values: dict[str, Value]
    qualities: dict[str, int] = {}
    units: dict[str, str] = {}
    times: dict[str, int] = {}
    faults: list[Fault] = []
    publisher: str | None = None
    numbers: tuple[int, int] = (0, -1)
    misnumbered: bool = False
    hops: int = 0

    @property
    def points(self) -> list[Point]:
        """The values, each by itself."""
        return [
            Point(
                topics.beneath(self.topic, tag),
                self.times.get(tag, self.time),
                value,
                self.qualities.get(tag, _GOOD),
                self.units.get(tag),
            )
            for tag, value in self.values.items()
        ]


class _TagOut(msgspec.Struct, gc=False, omit_defaults=True):
    v: Value
    q: str | int
    ts: int
    u: str | None = None
    p: str | None = None
    n: int | None = None
    hops: int = 0


class _DeviceOut(msgspec.Struct, gc=False, omit_defaults=True):
    ts: int
    v: dict[str, Value]
    q: dict[str, str | int] = {}
    u: Mapping[str, str] = {}
    t: dict[str, int] = {}


class _In(msgspec.Struct, gc=False):
    """Both formats at once: in a device message the fields are objects keyed by tag."""

    v: dict[str, float | int | bool | str | None] | float | int | bool | str | None
    ts: int | float
    q: dict[str, str | int] | str | int = "good"
    u: dict[str, str] | str | None = None
    t: dict[str, int] | None = None
    p: str | None = None
    n: int = 0
    m: int | None = None
    hops: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_In)


class _Times(msgspec.Struct, gc=False):
    """The part of a device message that its readings' times need."""

    ts: int
    v: dict[str, msgspec.Raw]
    t: dict[str, int] = {}


_times_decoder = msgspec.json.Decoder(_Times)


def encode_tag(
    reading: Reading, unit: str | None = None, publisher: str | None = None, number: int = 0, hops: int = 0
) -> bytes:
    """One reading as the payload of its tag's topic; numbered if its `publisher` wants a receipt.

    `hops` are the rules that it has come through.
    """
    value, quality = reading.value, reading.quality
    if value.__class__ is not bool and (value.__class__ is not float or value - value != 0.0):
        value, quality = carried(value, quality)
    word = "good" if quality == _GOOD else _WORDS.get(quality, quality)  # type: ignore[call-overload]
    if publisher is None:
        return _encoder.encode(_TagOut(value, word, reading.time, unit, hops=hops))
    return _encoder.encode(_TagOut(value, word, reading.time, unit, publisher, number, hops))


def encode_device(
    readings: Iterable[Reading],
    time: int,
    units: Mapping[str, str] | None = None,
) -> bytes:
    """One scan, taken at `time` (epoch ms), as the payload of its device's topic.

    Good qualities, and times equal to the scan's, are left out. `units` may name more tags than `readings` holds.
    """
    values: dict[str, Value] = {}
    qualities: dict[str, str | int] = {}
    times: dict[str, int] = {}
    for reading in readings:
        tag, value, quality = reading.tag, reading.value, reading.quality
        # x - x is 0 for finite floats only.
        if value.__class__ is not bool and (value.__class__ is not float or value - value != 0.0):
            value, quality = carried(value, quality)
        values[tag] = value
        if quality != _GOOD:
            qualities[tag] = _WORDS.get(quality, quality)  # type: ignore[call-overload]
        if reading.time != time:
            times[tag] = reading.time
    named = {} if not units else units if units.keys() <= values.keys() else _only(units, values)
    return _encoder.encode(_DeviceOut(time, values, qualities, named, times))


def numbered(payload: bytes, publisher: str, number: int, count: int) -> bytes:
    """Adds numbers to a JSON object, to request a receipt: `count` of them from `number` on, one per reading."""
    if count == 1:
        return b'%b,"p":"%b","n":%d}' % (payload[:-1], publisher.encode(), number)
    return b'%b,"p":"%b","n":%d,"m":%d}' % (payload[:-1], publisher.encode(), number, number + count - 1)


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
        reason = f"not in the format of a reading ({error}): messages of another format need a decoder"
        return _decode_leniently(topic, payload, reason)
    values = message.v
    if isinstance(values, dict):
        return _device_message(topic, message, values, [])
    return _tag_message(topic, message, values)


def times(payload: bytes) -> list[int]:
    """When the readings of a device message were read, in epoch ms. Raises DecodeError."""
    try:
        message = _times_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a device message: {error}") from None
    return [message.t.get(tag, message.ts) for tag in message.v]


def _tag_message(topic: str, message: _In, value: Value) -> Message:
    if isinstance(message.q, dict) or isinstance(message.u, dict):
        raise DecodeError("q and u are objects, but v is a single value")
    qualities = {} if message.q == "good" else {"": quality(message.q)}
    units = {"": message.u} if message.u is not None else {}
    sent = sequence.UNNUMBERED if message.p is None else sequence.numbers(message.p, message.n, message.m, 1)
    return Message(topic, milliseconds(message.ts), {"": value}, qualities, units, {}, [], *sent, message.hops)


def _device_message(topic: str, message: _In, values: dict[str, Value], faults: list[Fault]) -> Message:
    if not isinstance(message.q, dict):
        if message.q != "good":
            raise DecodeError("v is an object, so q must be an object too")
        message.q = {}
    if isinstance(message.u, str):
        raise DecodeError("v is an object, so u must be an object too")
    if not values:
        raise DecodeError("v is an object without a tag")
    readings = len(values) + len(faults)
    qualities = _qualities(message.q, values, faults) if message.q else {}
    if "" in values:
        del values[""]
        faults.append(Fault("", "the tag's name is empty"))
    sent = sequence.UNNUMBERED if message.p is None else sequence.numbers(message.p, message.n, message.m, readings)
    time = milliseconds(message.ts)
    return Message(topic, time, values, qualities, message.u or {}, message.t or {}, faults, *sent, message.hops)


def _decode_leniently(topic: str, payload: bytes, reason: str) -> Message:
    """Decodes a message that the typed decoder refused, slowly: keeps what can be read."""
    if (parts := lenient.read(payload)) is None:
        raise DecodeError(reason)
    message, wrong = _In(*parts[0]), parts[1]
    if not isinstance(message.v, dict):
        return _tag_message(topic, message, message.v)
    if not message.v:
        raise DecodeError(reason)
    return _device_message(topic, message, message.v, [Fault(tag, why) for tag, why in wrong.items()])


def _qualities(said: Mapping[str, str | int], values: dict[str, Value], faults: list[Fault]) -> dict[str, int]:
    """By tag; an invalid quality affects only its own tag."""
    found = {}
    for tag, word in said.items():
        try:
            found[tag] = quality(word)
        except DecodeError as error:
            if tag in values:
                del values[tag]
                faults.append(Fault(tag, str(error)))
            if not values:
                raise
    return found


def carried(value: Value, quality: int) -> tuple[Value, int]:
    """The value, or None where nothing carries it: NaN, infinities, beyond floats, half a surrogate pair in a text."""
    if isinstance(value, str):
        return (value, quality) if value.isascii() or _is_unicode(value) else (None, Quality.BAD)
    if isinstance(value, float) and not math.isfinite(value):
        return None, Quality.BAD
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        try:
            return float(value), quality
        except OverflowError:
            return None, Quality.BAD
    return value, quality


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quality(value: object) -> int:
    """The number of a quality, given as one or as a word. Raises DecodeError."""
    if isinstance(value, str):
        if (number := _NUMBERS.get(value)) is None:
            raise DecodeError(f"quality {value[:40]!r} is none of good, uncertain, bad")
        return number
    if isinstance(value, int) and 0 <= value <= 255:
        return value
    raise DecodeError("quality is not a whole number between 0 and 255")


def milliseconds(value: float) -> int:
    """Whole epoch milliseconds. Raises DecodeError."""
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise DecodeError("ts is not a finite number")
    return int(value)
