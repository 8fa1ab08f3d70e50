"""Alarms, on `alarm/{device path}/{tag}/{name}`, a device's own without the tag: retained, numbered like readings.

An empty payload clears an alarm that has left the device files; receivers look for it before they decode.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nexus.contract import sequence
from nexus.contract import topic as topics
from nexus.contract.audit import LATEST_MS, LONGEST_NAME
from nexus.contract.codec import DecodeError, carried
from nexus.contract.reading import Quality, Value

ROOT = "alarm/"
LONGEST_TEXT = 500  # characters of `text`, `response`, `reason`, and of a value that is a text

State = Literal[
    "normal", "unacknowledged", "acknowledged", "returned", "latched", "shelved", "suppressed", "out-of-service"
]
Event = Literal[
    "raised",
    "cleared",
    "acknowledged",
    "shelved",
    "unshelved",
    "suppressed",
    "unsuppressed",
    "out-of-service",
    "in-service",
    "comment",
    "realarmed",
    "reset",
    "removed",  # from the device files
]
Priority = Literal["low", "medium", "high", "critical"]

_Ms = Annotated[int, Meta(ge=0, lt=LATEST_MS)]
_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
_Level = Annotated[str, Meta(max_length=topics.LONGEST_NAME)]


class Record(msgspec.Struct, frozen=True, gc=False):
    """The whole state of an alarm: enough to continue after a restart, or on another gateway. Times in epoch ms.

    `state` is what people see. `occurrence` is when the current or last one began, 0 if there was none; `since` when
    the state began, `ts` the time of the last event. `active`, `acknowledged` and `latched` (until it is reset) are
    kept up to date while the alarm is hidden: shelved `until` some time, `suppressed` by a person, `out_of_service`.
    `limit` is the one that was crossed.
    """

    state: State = "normal"
    occurrence: int = 0
    since: int = 0
    ts: int = 0
    active: bool = False
    acknowledged: bool = True
    latched: bool = False
    suppressed: bool = False
    out_of_service: bool = False
    until: int | None = None
    value: Value = None
    limit: float | None = None
    by: str | None = None
    reason: str = ""


class AlarmMessage(msgspec.Struct, frozen=True, gc=False):
    """An event of an alarm, and the record after it. `device` is the device's path; `tag` is "" for an alarm of the
    device itself."""

    device: str
    tag: str
    name: str
    record: Record
    event: Event
    priority: Priority = "medium"
    text: str = ""
    response: str = ""
    unit: str | None = None
    publisher: str | None = None
    numbers: tuple[int, int] = (0, -1)

    @property
    def topic(self) -> str:
        """The alarm's key; with `record.occurrence`, the key of an occurrence."""
        return topics.alarm(self.device, self.tag, self.name)


class _Payload(msgspec.Struct, gc=False, omit_defaults=True):
    device: _Level
    tag: _Level
    name: _Level
    state: State
    event: Event
    occurrence: _Ms
    since: _Ms
    ts: _Ms
    active: bool
    acknowledged: bool
    priority: Priority
    latched: bool = False
    suppressed: bool = False
    out_of_service: bool = False
    until: _Ms | None = None
    value: float | int | bool | _Text | None = None
    limit: float | None = None
    by: _Name | None = None
    reason: _Text = ""
    text: _Text = ""
    response: _Text = ""
    unit: _Name | None = None
    p: str | None = None
    n: int = 0
    m: int | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Payload)


def encode(message: AlarmMessage) -> bytes:
    """Payload of an alarm's topic, not numbered yet. Texts are cut to what receivers take."""
    record = message.record
    payload = _Payload(
        message.device,
        message.tag,
        message.name,
        record.state,
        message.event,
        record.occurrence,
        record.since,
        record.ts,
        record.active,
        record.acknowledged,
        message.priority,
        record.latched,
        record.suppressed,
        record.out_of_service,
        record.until,
        recorded(record.value),
        None if record.limit is None else float(record.limit),  # it may come from a tag that is true or false
        _clean(record.by, LONGEST_NAME) if record.by is not None else None,
        _clean(record.reason),
        _clean(message.text),
        _clean(message.response),
        _clean(message.unit, LONGEST_NAME) if message.unit is not None else None,
    )
    return _encoder.encode(payload)


def recorded(value: Value) -> Value:
    """A record's value as it will be read back from the broker or the disk."""
    value = carried(value, Quality.GOOD)[0]
    return _clean(value) if isinstance(value, str) else value


def decode(topic: str, payload: bytes) -> AlarmMessage:
    """Decodes a message that came on this topic. Raises DecodeError."""
    try:
        found = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not an alarm: {error}") from None
    if topic != topics.alarm(found.device, found.tag, found.name):
        raise DecodeError("not an alarm: device, tag and name are not those of its topic")
    for name in ("reason", "text", "response", "by", "unit", "value"):
        if isinstance(text := getattr(found, name), str) and text != _clean(text):
            raise DecodeError(f"not an alarm: {name} holds NUL, or half a character")
    publisher, numbers, _ = sequence.numbers(found.p, found.n, found.m, 1)
    return AlarmMessage(
        found.device,
        found.tag,
        found.name,
        _record(found),
        found.event,
        found.priority,
        found.text,
        found.response,
        found.unit,
        publisher,
        numbers,
    )


def _record(found: _Payload) -> Record:
    return Record(
        found.state,
        found.occurrence,
        found.since,
        found.ts,
        found.active,
        found.acknowledged,
        found.latched,
        found.suppressed,
        found.out_of_service,
        found.until,
        found.value,
        found.limit,
        found.by,
        found.reason,
    )


def _clean(text: str, most: int = LONGEST_TEXT) -> str:
    """The text as the database can store it: not too long, without NUL or half a surrogate pair."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isascii() and "\0" not in text:
        return text
    return "".join("�" if letter == "\0" or "\ud800" <= letter <= "\udfff" else letter for letter in text)
