"""Points to rows of the `metrics` table, and rows to PostgreSQL's binary COPY format."""

import struct
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter

from nexus.contract.codec import Point

# topic, unit, time (epoch ms), value, value_str, quality
Row = tuple[str, str | None, int, float | None, str | None, int]

COLUMNS = "topic, unit, time, value, value_str, quality"
LATEST_AHEAD_MS = 3_600_000  # a clock this far ahead is wrong, and would hide newer values
EARLIEST_MS = 0

_EXACT_INT = 2**53  # beyond this a float8 loses digits
_POSTGRES_EPOCH_MS = 946_684_800_000  # 2000-01-01
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_FIELDS = struct.pack(">h", 6)
_TIME_AND_NUMBER = struct.Struct(">iqidiih")  # time, value, no text, quality
_TIME = struct.Struct(">iq")
_NUMBER = struct.Struct(">id")
_QUALITY = struct.Struct(">ih")


def row(point: Point, now_ms: int) -> Row | str:
    """A point as a row, or the reason why the table cannot hold it."""
    value = point.value
    if not EARLIEST_MS <= point.time <= now_ms + LATEST_AHEAD_MS:
        return f"ts {point.time} is {'before 1970' if point.time < EARLIEST_MS else 'more than an hour ahead'}"
    if "\0" in point.topic or (point.unit and "\0" in point.unit) or (isinstance(value, str) and "\0" in value):
        return "a text holds the character NUL, which the database cannot store"
    if isinstance(value, float) or value is None:
        return point.topic, point.unit, point.time, value, None, point.quality
    if isinstance(value, str):
        return point.topic, point.unit, point.time, None, value, point.quality
    digits = str(value) if abs(value) > _EXACT_INT else None
    return point.topic, point.unit, point.time, float(value), digits, point.quality


def in_order(rows: list[Row]) -> list[Row]:
    """Sorted by topic and time, as the index is: that makes the COPY cheaper."""
    return sorted(rows, key=itemgetter(0, 2))


def copy_data(rows: Iterable[Row]) -> bytes:
    """The rows as one binary COPY stream of COLUMNS."""
    parts = [_HEADER]
    add = parts.append
    pack = _TIME_AND_NUMBER.pack
    for topic, unit, time, value, text, quality in rows:
        add(_prefix(topic, unit))
        micros = (time - _POSTGRES_EPOCH_MS) * 1000
        if value is not None and text is None:
            add(pack(8, micros, 8, value, -1, 2, quality))
        else:
            add(_TIME.pack(8, micros))
            add(_NULL if value is None else _NUMBER.pack(8, value))
            add(_text(text))
            add(_QUALITY.pack(2, quality))
    add(_TRAILER)
    return b"".join(parts)


@lru_cache(maxsize=100_000)  # the same topics come again and again
def _prefix(topic: str, unit: str | None) -> bytes:
    return _FIELDS + _text(topic) + _text(unit)


def _text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode("utf-8")
    return struct.pack(">i", len(data)) + data
