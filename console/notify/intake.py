"""From the queue into the outbox: each event is judged once, in the transaction that takes it from the queue."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import msgspec
from psycopg import AsyncConnection

from console.historian.alarms import COLUMNS, message_of
from console.notify.channels.sending import name_of
from console.notify.config import Config
from console.notify.event import is_answered, key_of, waits
from console.notify.flood import SETTLE
from console.notify.routes import Order, Wait
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage
from nexus.process import log, supervisor

MOST = 500  # events of one transaction
TOO_OLD = timedelta(days=7)  # in the queue: of a time before notifications were switched on again

_TAKE: LiteralString = f"""
WITH taken AS (
    DELETE FROM notification_queue
    WHERE id = ANY (ARRAY(SELECT id FROM notification_queue ORDER BY id LIMIT %s)) RETURNING *
)
SELECT id, stored, {COLUMNS} FROM taken ORDER BY taken.id
"""  # noqa: S608
_DUE = """
DELETE FROM notification_waits WHERE (topic, occurrence, route, step) IN (
    SELECT topic, occurrence, route, step FROM notification_waits WHERE due <= %s ORDER BY due LIMIT %s
) RETURNING topic, (extract(epoch FROM occurrence) * 1000)::bigint, route, step, began, receivers
"""
_STATES: LiteralString = f"SELECT {COLUMNS} FROM alarm_states WHERE topic = ANY (%s)"  # noqa: S608
_WAIT = """
INSERT INTO notification_waits (topic, occurrence, route, step, began, due, receivers)
SELECT topic, to_timestamp(occurrence / 1000.0), route, step, to_timestamp(began / 1000.0), due,
    ARRAY(SELECT jsonb_array_elements_text(receivers::jsonb))
FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::int[], %s::bigint[], %s::timestamptz[], %s::text[])
AS came (topic, occurrence, route, step, began, due, receivers)
ON CONFLICT DO NOTHING
"""
_ANSWERED = """
DELETE FROM notification_waits USING unnest(%s::text[], %s::bigint[]) AS answered (topic, occurrence)
WHERE notification_waits.topic = answered.topic
  AND notification_waits.occurrence = to_timestamp(answered.occurrence / 1000.0)
"""
_ORDER = """
INSERT INTO notifications (created, receiver, channel, route, kind, key, topic, word, late, due, expires)
SELECT %s, receiver, channel, route, kind, key, topic, word::jsonb, late, due, expires
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bool[],
    %s::timestamptz[], %s::timestamptz[])
AS came (receiver, channel, route, kind, key, topic, word, late, due, expires) ON CONFLICT (key, receiver) DO NOTHING
"""

Row = tuple[Any, ...]


class _Fresh(NamedTuple):
    """An event, when it was stored, and now."""

    word: AlarmMessage
    stored: datetime
    now: datetime


async def take(connection: AsyncConnection, config: Config, now: datetime) -> int:
    """Judges what is queued; gives how many events that were. In a transaction of the caller's."""
    rows = await (await connection.execute(_TAKE, (MOST,))).fetchall()
    fresh = [_Fresh(message_of(row[2:]), row[1], now) for row in rows if now - row[1] < TOO_OLD]
    if len(fresh) < len(rows):
        log.get("notify").warning("events waited too long for a sender: nobody is told", events=len(rows) - len(fresh))
    orders: list[Row] = []
    waiting: dict[Row, Row] = {}  # by topic, occurrence, route and step
    answered: set[Row] = set()  # by topic and occurrence
    for one in fresh:
        orders += supervisor.call("message", _ordered, config, one) or []
        if is_answered(one.word):
            which = one.word.topic, one.word.record.occurrence
            answered.add(which)
            waiting = {key: row for key, row in waiting.items() if key[:2] != which}
        for row in supervisor.call("message", _waits, config, one) or []:
            waiting.setdefault(row[:4], row)
    if answered:
        await connection.execute(_ANSWERED, _columns(answered))
    if waiting:
        await connection.execute(_WAIT, _columns(waiting.values()))
    await _add(connection, orders, now)
    return len(rows)


async def escalate(connection: AsyncConnection, config: Config, now: datetime) -> int:
    """Tells others of what nobody has acknowledged in time; gives how many waits were over. In a transaction."""
    due = await (await connection.execute(_DUE, (now, MOST))).fetchall()
    states = await (await connection.execute(_STATES, ([row[0] for row in due],))).fetchall()
    last = {found.topic: found for found in map(message_of, states)}
    orders: list[Row] = []
    for topic, occurrence, route, step, began, receivers in due:
        found = last.get(topic)
        if found is None or found.record.occurrence != occurrence or not waits(found):
            continue
        for receiver in receivers:
            order = Order(receiver, route, is_late=False)
            key = key_of(found, receiver, route, step, began)
            orders.append(_row(config, found, order, ("escalation", key), now))
    await _add(connection, orders, now)
    return len(due)


def _ordered(config: Config, one: _Fresh) -> list[Row]:
    orders = config.routes.orders(one.word, one.now, one.stored)
    return [_row(config, one.word, order, ("event", key_of(one.word, order.receiver)), one.now) for order in orders]


def _row(config: Config, one: AlarmMessage, order: Order, kind_and_key: tuple[str, str], now: datetime) -> Row:
    receiver, due, channel, expires = config.receivers.get(order.receiver), now, "", now
    if receiver is not None:  # else it is dead before long, as all are whose receiver has left the file
        channel, expires = name_of(receiver.channel), now + receiver.give_up
        due = now + SETTLE if order.is_late and receiver.digest is not None else now
    names = (order.receiver, channel, order.route, *kind_and_key, one.topic)
    return *names, alarm.encode(one).decode(), order.is_late, due, expires


def _waits(config: Config, one: _Fresh) -> list[Row]:
    def row(wait: Wait) -> Row:
        to = msgspec.json.encode(wait.to).decode()
        return one.word.topic, one.word.record.occurrence, wait.route, wait.step, one.word.record.ts, wait.due, to

    return [row(wait) for wait in config.routes.waits(one.word, one.now, one.stored)]


async def _add(connection: AsyncConnection, orders: Sequence[Row], now: datetime) -> None:
    if orders:
        await connection.execute(_ORDER, (now, *_columns(orders)))


def _columns(rows: Iterable[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
