"""Alarms as the database has them: what stood last, the journal, and statistics."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from nexus.contract.alarm import AlarmMessage, Record

COLUMNS: LiteralString = """
    device, tag, name, state, (extract(epoch FROM occurrence) * 1000)::bigint,
    (extract(epoch FROM since) * 1000)::bigint, (extract(epoch FROM time) * 1000)::bigint, active, acknowledged,
    (extract(epoch FROM until) * 1000)::bigint, coalesce(to_jsonb(value_str), to_jsonb(value)), "limit", by, reason,
    event, priority, text, response, unit
"""
_NOW: LiteralString = f"SELECT {COLUMNS} FROM alarms_now ORDER BY time DESC LIMIT %(most)s"  # noqa: S608
_JOURNAL: LiteralString = f"""
SELECT {COLUMNS} FROM alarm_events
WHERE time >= %(start)s AND time < %(stop)s
  AND (%(after_time)s::timestamptz IS NULL
       OR (time, topic, occurrence, state)
          < (%(after_time)s, %(after_topic)s, %(after_occurrence)s::timestamptz, %(after_state)s))
  AND (%(topic)s::text IS NULL OR topic = %(topic)s)
  AND (%(device)s::text = '' OR device = %(device)s OR starts_with(device, %(device)s || '/'))
  AND (%(priority)s::text IS NULL OR priority = %(priority)s)
  AND NOT EXISTS (
      SELECT FROM unnest(%(words)s::text[]) AS word WHERE strpos(lower(topic || ' ' || text), word) = 0
  )
ORDER BY time DESC, topic DESC, occurrence DESC, state DESC LIMIT %(most)s
"""  # noqa: S608
_WHOLE: LiteralString = """
SELECT raised, per_10_minutes, peak_10_minutes, flood_share, top_10_share, chattering, standing, stale, shelved,
       unacknowledged, extract(epoch FROM median_response)::float8 AS median_response
FROM alarm_statistics(%s, %s)
"""
_RESPONSE: LiteralString = """
SELECT priority, raised, acknowledged, extract(epoch FROM median)::float8 AS median,
       extract(epoch FROM p95)::float8 AS p95, extract(epoch FROM longest)::float8 AS longest
FROM alarm_response(%s, %s)
"""


class Which(msgspec.Struct, frozen=True):
    """Which events: all that is given must be so. `device` is a path, with what is below it; `words` are lower case."""

    start: datetime
    stop: datetime
    topic: str | None = None
    device: str = ""
    priority: str | None = None
    words: Sequence[str] = ()


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """The last event of a page."""

    time: datetime
    topic: str
    occurrence: datetime
    state: str


async def now(connection: AsyncConnection, most: int) -> list[AlarmMessage]:
    """The last messages of alarms that are not normal, so many at most."""
    rows = await (await connection.execute(_NOW, {"most": most})).fetchall()
    return [message_of(row) for row in rows]


async def journal(connection: AsyncConnection, which: Which, after: Cursor | None, most: int) -> list[AlarmMessage]:
    """The newest events, or the newest before the cursor's."""
    cursor = {f"after_{name}": getattr(after, name, None) for name in Cursor.__struct_fields__}
    asked = {**msgspec.structs.asdict(which), "words": list(which.words), **cursor, "most": most}
    return [message_of(row) for row in await (await connection.execute(_JOURNAL, asked)).fetchall()]


async def statistics(connection: AsyncConnection, start: datetime, stop: datetime) -> dict[str, Any]:
    """How alarms served people in a range, by EEMUA 191; lengths of time in seconds."""

    async def rows(query: LiteralString) -> list[dict[str, Any]]:
        async with connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(query, (start, stop))).fetchall()

    [whole] = await rows(_WHOLE)
    return {
        **whole,
        "rate": await rows("SELECT bucket AS time, raised FROM alarm_rate(%s, %s)"),
        "top": await rows("SELECT topic, priority, text, raised, share FROM alarm_top(%s, %s)"),
        "chatterers": await rows("SELECT topic, text, bursts, raised FROM alarm_chattering(%s, %s)"),
        "response": await rows(_RESPONSE),
    }


def message_of(row: tuple[Any, ...]) -> AlarmMessage:
    """What a row of COLUMNS says."""
    device, tag, name, state, occurrence, since, ts, active, acknowledged, until, value, limit, by, reason, *rest = row
    event, priority, text, response, unit = rest
    record = Record(
        state,
        occurrence,
        since,
        ts,
        active,
        acknowledged,
        until=until,
        value=value,
        limit=limit,
        by=by,
        reason=reason,
    )
    return AlarmMessage(device, tag, name, record, event, priority, text, response, unit)
