"""Whether readings that were sent to be stored are in the database, and as they were sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from nexus.contract.reading import Quality, Value

Key = tuple[str, int]  # topic, and epoch ms
_SHOWN_DIGITS = 2**53  # integers beyond have their digits beside the number

_KEPT_FROM = "SELECT kept_from()"
_HAS_LATE = "SELECT to_regclass('metrics_late') IS NOT NULL"
_FOUND: LiteralString = """
SELECT asked.number, found.value, found.value_str, found.quality
FROM unnest(%(topics)s::text[], %(times)s::timestamptz[]) WITH ORDINALITY AS asked (topic, time, number)
CROSS JOIN LATERAL (
    SELECT value, value_str, quality FROM {} AS kept
    WHERE kept.topic = asked.topic AND kept.time = asked.time
    LIMIT 1
) AS found
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A reading as it was sent."""

    topic: str
    time: int
    value: Value
    quality: int

    @property
    def key(self) -> Key:
        """What makes it one reading."""
        return self.topic, self.time

    def is_like(self, value: float | None, text: str | None, quality: int) -> bool:
        """Whether a row is what this reading becomes."""
        if quality != (self.quality if self.value is not None else Quality.BAD):
            return False
        if self.value is None or isinstance(self.value, str):
            return (value, text) == (None, self.value)
        digits = str(self.value) if isinstance(self.value, int) and abs(self.value) > _SHOWN_DIGITS else None
        return value == float(self.value) and text == digits


@dataclass
class Found:
    """Numbers of the readings: stored as sent, stored but still to be merged, under another value, and not there."""

    stored: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    different: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


async def kept_from(connection: AsyncConnection) -> datetime | None:
    """Before when the database keeps no readings; None if it keeps all. Raises psycopg.Error."""
    [(moment,)] = await (await connection.execute(_KEPT_FROM)).fetchall()
    return moment  # type: ignore[no-any-return]


async def look(connection: AsyncConnection, sent: Sequence[Sent]) -> Found:
    """Where each of them is, once their receipt has come. Raises psycopg.Error."""
    [(has_late,)] = await (await connection.execute(_HAS_LATE)).fetchall()
    # Late rows move to `metrics`: who looks there first may miss them in both.
    late = await _rows(connection, "metrics_late", sent) if has_late else {}
    rows, found = await _rows(connection, "metrics", sent), Found()
    for number, one in enumerate(sent):
        if (row := rows.get(number)) is not None:
            (found.stored if one.is_like(*row) else found.different).append(number)
        elif (row := late.get(number)) is not None:
            (found.late if one.is_like(*row) else found.different).append(number)
        else:
            found.refused.append(number)
    return found


async def _rows(connection: AsyncConnection, table: LiteralString, sent: Sequence[Sent]) -> dict[int, Any]:
    times = [datetime.fromtimestamp(one.time / 1000, UTC) for one in sent]
    asked = {"topics": [one.topic for one in sent], "times": times}
    rows = await (await connection.execute(_FOUND.replace("{}", table), asked)).fetchall()
    return {number - 1: row for number, *row in rows}
