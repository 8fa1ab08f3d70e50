"""Alarms out of the database: what stands now, and the journal."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nexus.contract.alarm import Record, Word

if TYPE_CHECKING:
    from db.migrate import Connection

_COLUMNS = """
    device, tag, name, state, (extract(epoch FROM occurrence) * 1000)::bigint,
    (extract(epoch FROM since) * 1000)::bigint, (extract(epoch FROM time) * 1000)::bigint, active, acknowledged,
    (extract(epoch FROM until) * 1000)::bigint, coalesce(to_jsonb(value_str), to_jsonb(value)), "limit", by, reason,
    event, priority, text, response, unit
"""
_NOW = f"SELECT {_COLUMNS} FROM alarms_now"  # noqa: S608
_JOURNAL = f"""
SELECT * FROM (
    SELECT {_COLUMNS} FROM alarm_events
    WHERE time >= %(start)s AND time < %(stop)s AND (%(topic)s::text IS NULL OR topic = %(topic)s
        OR starts_with(topic, %(topic)s || '/'))
    ORDER BY time DESC LIMIT %(most)s
) AS newest ORDER BY 7
"""  # noqa: S608


def now(connection: "Connection") -> list[Word]:
    """The last words of alarms that are not normal. Raises psycopg.Error."""
    return [_word(row) for row in connection.execute(_NOW.encode())]


def journal(connection: "Connection", topic: str | None, start: datetime, stop: datetime, most: int) -> Iterator[Word]:
    """The newest events, in the order of time: of all, of one alarm, or of what is below a topic."""
    asked = {"topic": topic, "start": start, "stop": stop, "most": most}
    for row in connection.execute(_JOURNAL.encode(), asked):
        yield _word(row)


def _word(row: tuple[Any, ...]) -> Word:
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
    return Word(device, tag, name, record, event, priority, text, response, unit)
