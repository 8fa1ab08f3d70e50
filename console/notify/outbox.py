"""Notifications that wait for their receivers, and what became of each attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import msgspec
from psycopg import AsyncConnection

from console.notify.message import Message
from console.notify.receiver_keys import Receiver
from console.notify.summary import Summary
from nexus.contract import alarm
from nexus.contract.codec import DecodeError

_WINDOW = 200  # of the oldest, in which those to be sent are looked for first
MOST_GIVEN_UP = 5_000  # of one statement
GONE = "its receiver is not in the file any more"

# BETWEEN keeps `receiver` in the order, so that the index is used that has what waits alone: with `=`, the planner may
# take another that has the same order, and read through all that was ever settled.
OF_RECEIVER: LiteralString = "receiver BETWEEN %(receiver)s AND %(receiver)s AND state = 'pending'"
_NOBODYS: LiteralString = "state = 'pending' AND remaining IS NULL"  # what nobody has yet
_COLUMNS: LiteralString = """
    id, key, route, kind, late, topic, word::text, summary::text, attempts, expires, remaining, refused
"""
# Nothing overtakes a digest that it is in and that nobody has yet: else one full mailbox would silence all.
# OFFSET keeps this a look at an index for each.
_NOT_AFTER_A_DIGEST: LiteralString = """
NOT EXISTS (
    SELECT FROM notifications AS told WHERE told.topic = one.topic AND told.digest = ANY (ARRAY(
        SELECT id FROM notifications
        WHERE receiver = %(receiver)s AND state = 'pending' AND topic = '' AND remaining IS NULL
    )) OFFSET 0
)
"""
# Of what nobody has yet, of an alarm the first only: a later event does not overtake one that is tried again. What was
# not tried yet comes first.
_HEADS: LiteralString = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM notifications WHERE {OF_RECEIVER} ORDER BY receiver, id LIMIT %(window)s
) AS one
WHERE due <= %(now)s AND remaining IS NULL AND {_NOT_AFTER_A_DIGEST}
  AND NOT EXISTS (
      SELECT FROM notifications AS earlier
      WHERE earlier.receiver = one.receiver AND earlier.topic = one.topic AND earlier.state = 'pending'
        AND earlier.remaining IS NULL AND earlier.id < one.id OFFSET 0
  )
ORDER BY attempts > 0, id LIMIT %(most)s
"""  # noqa: S608
# Alarm by alarm: where the oldest are all of a few alarms, of which each has a great many, or are what some have.
_HEADS_OF_ALL: LiteralString = f"""
WITH RECURSIVE first AS (
    (SELECT topic, id FROM notifications WHERE receiver = %(receiver)s AND {_NOBODYS} ORDER BY topic, id LIMIT 1)
    UNION ALL
    SELECT next.topic, next.id FROM first CROSS JOIN LATERAL (
        SELECT topic, id FROM notifications
        WHERE receiver = %(receiver)s AND {_NOBODYS} AND topic > first.topic ORDER BY topic, id LIMIT 1
    ) AS next
)
SELECT {_COLUMNS} FROM (SELECT notifications.* FROM first JOIN notifications USING (id)) AS one
WHERE due <= %(now)s AND {_NOT_AFTER_A_DIGEST}
ORDER BY attempts > 0, id LIMIT %(most)s
"""  # noqa: S608
_DIGESTS: LiteralString = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM notifications WHERE receiver = %(receiver)s AND {_NOBODYS} AND topic = '' ORDER BY topic, id LIMIT 1
) AS one WHERE due <= %(now)s
"""  # noqa: S608
# What some recipients have is tried again for the others, and holds up nothing.
_PARTLY: LiteralString = f"""
SELECT {_COLUMNS} FROM notifications
WHERE {OF_RECEIVER} AND remaining IS NOT NULL AND due <= %(now)s ORDER BY receiver, due LIMIT %(most)s
"""  # noqa: S608
_SETTLE = """
WITH settled AS (
    UPDATE notifications
    SET state = %s, due = %s, settled = %s, answer = %s, remaining = %s, refused = %s, attempts = attempts + 1
    WHERE id = %s AND state = 'pending' RETURNING id, attempts
)
INSERT INTO notification_attempts (notification, number, time, seconds, sent, answer)
SELECT id, attempts, %s, %s, %s, %s FROM settled
"""
# One by one: few receivers, and there may be a great many notifications.
_WAITING: LiteralString = """
WITH RECURSIVE known AS (
    (SELECT receiver FROM notifications WHERE state = 'pending' ORDER BY receiver, id LIMIT 1)
    UNION ALL
    SELECT next.receiver FROM known CROSS JOIN LATERAL (
        SELECT receiver FROM notifications WHERE state = 'pending' AND receiver > known.receiver
        ORDER BY receiver, id LIMIT 1
    ) AS next
)
SELECT receiver FROM known WHERE receiver <> ALL (%s)
"""
_GONE: LiteralString = f"""
UPDATE notifications SET state = 'dead', settled = now(), answer = %(answer)s
WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE {OF_RECEIVER} ORDER BY receiver, id LIMIT %(most)s
))
"""  # noqa: S608
_EXPIRED: LiteralString = f"""
UPDATE notifications SET state = 'dead', settled = %(now)s,
    answer = CASE answer WHEN '' THEN 'given up before an attempt' ELSE 'given up: ' || answer END
WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE {OF_RECEIVER} AND expires <= %(now)s ORDER BY receiver, expires LIMIT %(most)s
))
"""  # noqa: S608
_UNREADABLE = "UPDATE notifications SET state = 'dead', settled = %s, answer = %s WHERE id = %s"
_OLD = """
DELETE FROM notifications WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE settled < %s ORDER BY settled LIMIT 5000
))
"""


@dataclass(frozen=True)
class Pending:
    """One that is due. Of a mail that some have, `remaining` have not got it, and of them it goes to no `refused`."""

    id: int
    message: Message
    attempts: int
    expires: datetime
    remaining: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """What became of one: `state` is pending if it is tried again at `due`."""

    id: int
    state: str
    due: datetime
    answer: str
    seconds: float
    remaining: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()


async def clock(connection: AsyncConnection) -> datetime:
    """The database's time, which is the same for all who send."""
    [(now,)] = await (await connection.execute("SELECT clock_timestamp()")).fetchall()
    return now  # type: ignore[no-any-return]


async def heads(
    connection: AsyncConnection, receiver: Receiver, now: datetime, most: int, *, single: bool
) -> list[Pending]:
    """Those to be sent now, the oldest first; without `single`, of what nobody has yet digests only.

    What cannot be read is dead.
    """
    asked = {"receiver": receiver.name, "now": now, "most": most, "window": _WINDOW}
    rows = await (await connection.execute(_HEADS if single else _DIGESTS, asked)).fetchall()
    if single and len(rows) < most:
        rows = await (await connection.execute(_HEADS_OF_ALL, asked)).fetchall()
    if len(rows) < most:
        rows += (await (await connection.execute(_PARTLY, asked)).fetchall())[: most - len(rows)]
    found: list[Pending] = []
    for row in rows:
        try:
            found.append(_pending(receiver.name, row))
        except (DecodeError, msgspec.MsgspecError) as error:
            await connection.execute(_UNREADABLE, (now, f"cannot be read: {error}"[:500], row[0]))
    return found


async def settle(connection: AsyncConnection, attempts: Sequence[Attempt], now: datetime) -> None:
    """Records what became of them, in a transaction of the caller's."""
    for one in attempts:
        settled = None if one.state == "pending" else now
        left = None if one.remaining is None else list(one.remaining)
        became = (one.state, one.due, settled, one.answer, left, list(one.refused), one.id)
        await connection.execute(_SETTLE, (*became, now, one.seconds, one.state == "sent", one.answer))


async def give_up_gone(connection: AsyncConnection, receivers: Sequence[str]) -> int:
    """Those whose receiver is in the file no more are dead, some at a time; gives how many."""
    gone = await (await connection.execute(_WAITING, (list(receivers),))).fetchone()
    if gone is None:
        return 0
    asked = {"receiver": gone[0], "answer": GONE, "most": MOST_GIVEN_UP}
    return (await connection.execute(_GONE, asked)).rowcount


async def give_up_expired(connection: AsyncConnection, receiver: Receiver, now: datetime) -> int:
    """Those that the receiver has not taken in time are dead; gives how many. None of them may be on its way."""
    asked = {"receiver": receiver.name, "now": now, "most": MOST_GIVEN_UP}
    return (await connection.execute(_EXPIRED, asked)).rowcount


async def drop_old(connection: AsyncConnection, now: datetime, keep: timedelta) -> int:
    """Deletes some that were settled so long ago; gives how many."""
    return (await connection.execute(_OLD, (now - keep,))).rowcount


def _pending(receiver: str, row: tuple[Any, ...]) -> Pending:
    number, key, route, kind, late, topic, word, told, attempts, expires, remaining, refused = row
    left = None if remaining is None else tuple(remaining)
    message = Message(
        key,
        receiver,
        route,
        kind,
        late,
        None if word is None else alarm.decode(topic, word.encode()),
        None if told is None else msgspec.json.decode(told, type=Summary),
        None if left is None else tuple(one for one in left if one not in refused),
    )
    return Pending(number, message, attempts, expires, left, tuple(refused))
