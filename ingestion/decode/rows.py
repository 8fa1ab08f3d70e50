"""Converts messages to rows of the `metrics` table, in PostgreSQL's binary COPY format from the start."""

import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from nexus.contract import topic as topics
from nexus.contract.codec import Message
from nexus.contract.reading import Quality, Value

COLUMNS = "topic, unit, time, value, value_str, quality"
LATEST_AHEAD_MS = 3_600_000  # a clock this far ahead is wrong, and its values would hide newer ones
EARLIEST_MS = 0
_FURTHEST_MS = 2**53
_LARGEST_INT = 10**308  # a larger number would be infinite as a float8
_EXACT_INT = 2**53  # beyond this a float8 loses digits
_POSTGRES_EPOCH_MS = 946_684_800_000  # 2000-01-01
_DAY_MS = 86_400_000
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_FIELDS = struct.pack(">h", 6)
_TIME = struct.Struct(">iq")
_NUMBER = struct.Struct(">id").pack
_QUALITY = struct.Struct(">ih")
_GOOD, _BAD = int(Quality.GOOD), int(Quality.BAD)
_GOOD_NUMBER = _NULL + _QUALITY.pack(2, _GOOD)  # what follows a number: no text, then the quality
_MOST_KNOWN = 32_000_000  # approximate bytes of remembered row prefixes
_DEVICE_BYTES, _TAG_BYTES = 800, 250
_CHARACTER_BYTES = 4  # in Python's strings, at most


class Row(NamedTuple):
    """A row as people read it; `time` in epoch ms."""

    topic: str
    unit: str | None
    time: int
    value: float | None
    value_str: str | None
    quality: int


class Rows:
    """Rows by topic, in order of arrival."""

    def __init__(self) -> None:
        self.by_topic: defaultdict[str, list[bytes]] = defaultdict(list)
        self.count = 0
        self.newest = 0  # epoch ms

    def __bool__(self) -> bool:
        return self.count > 0

    def take(self, others: "Rows") -> None:
        """Adds other rows."""
        for topic, rows in others.by_topic.items():
            self.by_topic[topic] += rows
        self.count += others.count
        self.newest = max(self.newest, others.newest)

    def in_order(self) -> list[bytes]:
        """The rows by topic, like the index: the COPY is cheaper. A topic's times are nearly in order already."""
        by_topic = self.by_topic
        return [row for topic in sorted(by_topic) for row in by_topic[topic]]

    def by_days(self, most: int) -> list["Rows"]:
        """The same rows, in parts of at most so many days (UTC)."""
        days: defaultdict[int, Rows] = defaultdict(Rows)
        for topic, rows in self.by_topic.items():
            for row in rows:
                day = days[parsed(row).time // _DAY_MS]
                day.by_topic[topic].append(row)
                day.count += 1
        parts: list[Rows] = []
        for number, at in enumerate(sorted(days)):
            if number % most == 0:
                parts.append(Rows())
            parts[-1].take(days[at])
        return parts


class Window(NamedTuple):
    """Times (epoch ms) that are stored: from `earliest` to `latest`; before `late_before` they are late."""

    earliest: int
    late_before: int
    latest: int

    @classmethod
    def at(cls, now_ms: int, late_before_ms: int, earliest_ms: int = EARLIEST_MS) -> "Window":
        return cls(max(EARLIEST_MS, earliest_ms), late_before_ms, now_ms + LATEST_AHEAD_MS)

    @property
    def now(self) -> int:
        return self.latest - LATEST_AHEAD_MS


class _Device:
    """The row prefixes of a topic's tags, or why a tag has none; for the units last named."""

    __slots__ = ("beginnings", "size", "units")

    def __init__(self, topic: str, units: dict[str, str]) -> None:
        self.units = units
        self.beginnings: dict[str, tuple[str, bytes]] = {}
        named = sum(_TAG_BYTES + _CHARACTER_BYTES * (len(tag) + len(unit)) for tag, unit in units.items())
        self.size = _DEVICE_BYTES + _CHARACTER_BYTES * len(topic) + named


class Encoder:
    """Encodes rows, and remembers their prefixes: the same topics come again and again."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}
        self._known = 0

    def encode(self, message: Message, window: Window, batch: Rows, late: Rows) -> list[tuple[str, str]]:
        """Adds a message's rows to `batch`, or those from before `window.late_before` to `late`.

        Gives tag and reason of each value that the table cannot hold.
        """
        time_ms = message.time
        if message.qualities or message.times or not window.earliest <= time_ms <= window.latest:
            return self._encode_slowly(message, window, batch, late)
        device = self._device(message)
        rows = batch if time_ms >= window.late_before else late
        beginnings, by_topic = device.beginnings, rows.by_topic
        time = _TIME.pack(8, (time_ms - _POSTGRES_EPOCH_MS) * 1000)
        number, good = _NUMBER, _GOOD_NUMBER
        refused = []
        for tag, value in message.values.items():
            topic, beginning = beginnings.get(tag) or self._beginning(device, message.topic, tag)
            if not beginning:
                refused.append((tag, _name_fault(topic, tag, device.units.get(tag)) or ""))
            elif value.__class__ is float:
                by_topic[topic].append(beginning + time + number(8, value) + good)
            elif reason := _fault(value):
                refused.append((tag, reason))
            else:
                by_topic[topic].append(beginning + time + _rest(value, _GOOD))
        rows.count += len(message.values) - len(refused)
        rows.newest = max(rows.newest, time_ms)
        return refused

    def _encode_slowly(self, message: Message, window: Window, batch: Rows, late: Rows) -> list[tuple[str, str]]:
        device = self._device(message)
        refused = []
        for tag, value in message.values.items():
            topic, beginning = device.beginnings.get(tag) or self._beginning(device, message.topic, tag)
            time = message.times.get(tag, message.time)
            named = _name_fault(topic, tag, device.units.get(tag)) if not beginning else None
            if reason := named or time_fault(time, window) or _fault(value):
                refused.append((tag, reason))
                continue
            rows = batch if time >= window.late_before else late
            micros = (time - _POSTGRES_EPOCH_MS) * 1000
            quality = message.qualities.get(tag, _GOOD)
            rows.by_topic[topic].append(beginning + _TIME.pack(8, micros) + _rest(value, quality))
            rows.count += 1
            rows.newest = max(rows.newest, time)
        return refused

    def _device(self, message: Message) -> _Device:
        device = self._devices.get(message.topic)
        if device is None or device.units != message.units:
            self._known -= device.size if device is not None else 0
            device = self._devices[message.topic] = _Device(message.topic, message.units)
            self._charge(device.size)
        return device

    def _charge(self, size: int) -> None:
        """Accounts for remembered bytes; at the limit everything is forgotten."""
        self._known += size
        if self._known > _MOST_KNOWN:
            self._devices.clear()
            self._known = 0

    def _beginning(self, device: _Device, name: str, tag: str) -> tuple[str, bytes]:
        topic = topics.beneath(name, tag)
        unit = device.units.get(tag)
        size = _TAG_BYTES + 3 * _CHARACTER_BYTES * len(topic) + _CHARACTER_BYTES * len(unit or "")
        device.size += size
        self._charge(size)
        fault = _name_fault(topic, tag, unit)
        found = device.beginnings[tag] = (topic, b"" if fault else _FIELDS + _text(topic) + _text(unit))
        return found


def _name_fault(topic: str, tag: str, unit: str | None) -> str | None:
    if tag and (fault := topics.name_fault(tag)):
        return f"the tag's name {fault}"
    if "\0" in topic or (unit and "\0" in unit):
        return "a text holds the character NUL, which the database cannot store"
    if len(topic.encode("utf-8", "surrogatepass")) > topics.LONGEST:
        return f"the topic is longer than {topics.LONGEST:,} bytes, more than the index can hold"
    return None


def time_fault(time: int, window: Window) -> str | None:
    """Says why a moment (epoch ms) is not stored; None if it is."""
    if window.earliest <= time <= window.latest:
        return None
    if not -_FURTHEST_MS < time < _FURTHEST_MS:
        return "ts is not a time in milliseconds"
    if time < EARLIEST_MS:
        return f"ts {time} is before 1970"
    if time < window.earliest:
        return f"ts {time} is older than what is kept"
    return f"ts {time} is more than an hour ahead"


def _fault(value: Value) -> str | None:
    if isinstance(value, str) and "\0" in value:
        return "a text holds the character NUL, which the database cannot store"
    if isinstance(value, int) and not -_LARGEST_INT < value < _LARGEST_INT:
        return "the number is larger than the database can store"
    return None


def columns(value: Value) -> tuple[float | None, str | None]:
    """The columns `value` and `value_str`: integers beyond 2^53 keep their digits in it. One that a float8 cannot
    hold has only these.
    """
    if value is None or isinstance(value, str):
        return None, value
    if isinstance(value, float) or abs(value) <= _EXACT_INT:
        return float(value), None
    return None if abs(value) >= _LARGEST_INT else float(value), str(value)


def _rest(value: Value, quality: int) -> bytes:
    """The fields after the time."""
    if value is None:
        fields, quality = _NULL + _NULL, _BAD  # no value cannot be good
    elif isinstance(value, str):
        fields = _NULL + _text(value)
    else:
        exact = isinstance(value, float) or abs(value) <= _EXACT_INT
        fields = _NUMBER(8, float(value)) + (_NULL if exact else _text(str(value)))
    return fields + _QUALITY.pack(2, quality)


def _text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode("utf-8", "surrogatepass")  # half a surrogate pair: the database refuses it, and only this row
    return struct.pack(">i", len(data)) + data


def copy_data(rows: Iterable[bytes]) -> bytes:
    """The rows as one binary COPY stream of COLUMNS."""
    return b"".join((_HEADER, *rows, _TRAILER))


def parsed(row: bytes) -> Row:
    """Decodes a row."""
    fields: list[bytes | None] = []
    at = len(_FIELDS)
    for _ in range(6):
        size = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        fields.append(None if size < 0 else row[at : at + size])
        at += max(size, 0)
    topic, unit, time, value, text, quality = fields
    return Row(
        (topic or b"").decode(errors="replace"),
        None if unit is None else unit.decode(errors="replace"),
        int.from_bytes(time or b"", "big", signed=True) // 1000 + _POSTGRES_EPOCH_MS,
        None if value is None else struct.unpack(">d", value)[0],
        None if text is None else text.decode(errors="replace"),
        int.from_bytes(quality or b"", "big", signed=True),
    )
