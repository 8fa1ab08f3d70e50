"""Stores what is not a reading: audit records, gateways' counts, and events of alarms; each once."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from msgspec.structs import astuple
from psycopg import AsyncConnection

from ingestion.decode.rows import columns
from nexus.contract.alarm import AlarmMessage, Event
from nexus.contract.audit import Record
from nexus.contract.completeness import Completeness

_AUDIT = """
INSERT INTO audit (time, id, topic, event, by, ok, detail)
VALUES (to_timestamp(%s::float8 / 1000), %s, %s, %s, %s, %s, %s::jsonb) ON CONFLICT DO NOTHING
"""
_COUNTS = """
INSERT INTO completeness (device, gateway, ended, time, run, since, until,
    read, marked, sent, repeated, receipted, dropped, away, resting, overran)
VALUES (%s, %s, %s, to_timestamp(%s::float8 / 1000), %s, to_timestamp(%s::float8 / 1000),
    to_timestamp(%s::float8 / 1000), %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (device, time, run) DO UPDATE SET
    ended = completeness.ended OR excluded.ended,
    until = greatest(completeness.until, excluded.until),
    read = greatest(completeness.read, excluded.read),
    marked = greatest(completeness.marked, excluded.marked),
    sent = greatest(completeness.sent, excluded.sent),
    repeated = greatest(completeness.repeated, excluded.repeated),
    receipted = greatest(completeness.receipted, excluded.receipted),
    dropped = greatest(completeness.dropped, excluded.dropped),
    away = greatest(completeness.away, excluded.away),
    resting = greatest(completeness.resting, excluded.resting),
    overran = greatest(completeness.overran, excluded.overran)
"""
# One statement for all rows: each statement updates the alarms' last states.
_ALARMS = """
INSERT INTO alarm_events (time, topic, device, tag, name, occurrence, state, since, event, active, acknowledged,
    value, value_str, "limit", unit, priority, text, response, by, reason, until)
SELECT to_timestamp(time / 1000), topic, device, tag, name, to_timestamp(occurrence / 1000), state,
    to_timestamp(since / 1000), event, active, acknowledged, value, value_str, "limit", unit, priority, text, response,
    by, reason, to_timestamp(until / 1000)
FROM unnest(%s::float8[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::text[], %s::float8[],
    %s::text[], %s::bool[], %s::bool[], %s::float8[], %s::text[], %s::float8[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[], %s::float8[])
AS came (time, topic, device, tag, name, occurrence, state, since, event, active, acknowledged, value, value_str,
    "limit", unit, priority, text, response, by, reason, until)
ON CONFLICT DO NOTHING
"""


_BY_ITSELF: frozenset[Event] = frozenset({"raised", "cleared", "realarmed", "removed"})


async def insert_records(connection: AsyncConnection, records: Sequence[Record | Completeness | AlarmMessage]) -> None:
    """Stores audit records, gateways' counts (the largest that came), and events of alarms."""
    # In a fixed order, or two ingesters might wait for each other.
    if audited := [astuple(one)[:7] for one in records if isinstance(one, Record)]:
        await _each(connection, _AUDIT, [(row[1], row[0], *row[2:]) for row in audited])
    if counts := [one for one in records if isinstance(one, Completeness)]:
        rows = [(one.device, one.gateway, one.ended, *astuple(row)) for one in counts for row in one.rows]
        await _each(connection, _COUNTS, sorted(rows, key=itemgetter(0, 3, 4)))
    if events := [_event(one) for one in records if isinstance(one, AlarmMessage)]:
        columns = zip(*sorted(events, key=itemgetter(1, 5, 6, 0)), strict=True)
        await connection.execute(_ALARMS, [list(column) for column in columns])


async def _each(connection: AsyncConnection, query: bytes | str, rows: Iterable[tuple[object, ...]]) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(query, rows)


def _event(message: AlarmMessage) -> tuple[object, ...]:
    """A row; events that happen by themselves get no person, although the state still names the last one."""
    record = message.record
    by, reason = (None, "") if record.by is not None and message.event in _BY_ITSELF else (record.by, record.reason)
    return (
        record.ts,
        message.topic,
        message.device,
        message.tag,
        message.name,
        record.occurrence,
        record.state,
        record.since,
        message.event,
        record.active,
        record.acknowledged,
        *columns(record.value),
        record.limit,
        message.unit,
        message.priority,
        message.text,
        message.response,
        by,
        reason,
        record.until,
    )
