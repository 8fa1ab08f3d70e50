"""Notifications that wait for their receivers, and what became of each attempt."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from console.notify.flood import Digest, Load
from console.notify.message import Message
from console.notify.receiver_keys import Receiver
from console.notify.summary import Summary, summary
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage
from nexus.contract.codec import DecodeError

MOST_IN_DIGEST = 10_000
MOST_EXPIRED = 5_000  # of one statement
GONE = "its receiver is not in the file any more"

_LOAD = """
SELECT count(*), count(*) FILTER (WHERE late) FROM notifications
WHERE receiver = %s AND state = 'pending' AND due <= %s AND kind <> 'digest'
"""
_SENT = """
SELECT count(*) FILTER (WHERE kind <> 'digest' AND state = 'sent'), max(created) FILTER (WHERE kind = 'digest')
FROM notifications WHERE receiver = %(receiver)s AND (settled > %(since)s OR (state = 'pending' AND kind = 'digest'))
"""
# Of an alarm the first only: a later event does not overtake one that is tried again. The alarms of those are left out
# at once: one of them may have a great many that wait.
_HEADS = """
SELECT id, key, route, kind, late, topic, word::text, summary::text, attempts, expires FROM notifications AS one
WHERE receiver = %(receiver)s AND state = 'pending' AND due <= %(now)s AND (kind = 'digest' OR %(single)s)
  AND topic NOT IN (
      SELECT topic FROM notifications
      WHERE receiver = %(receiver)s AND state = 'pending' AND due > %(now)s AND attempts > 0 AND kind <> 'digest'
  )
  AND NOT EXISTS (
      SELECT FROM notifications AS earlier
      WHERE earlier.receiver = one.receiver AND earlier.topic = one.topic AND earlier.state = 'pending'
        AND earlier.id < one.id
  )
ORDER BY id LIMIT %(most)s
"""
_NEW_DIGEST = """
INSERT INTO notifications (created, receiver, channel, route, kind, key, due, expires)
VALUES (%s, %s, %s, '', 'digest', md5(random()::text || clock_timestamp()::text), %s, %s) RETURNING id
"""
_INTO_DIGEST = """
UPDATE notifications SET state = 'digested', digest = %(digest)s, settled = %(now)s
WHERE id = ANY (ARRAY(
    SELECT id FROM notifications
    WHERE receiver = %(receiver)s AND state = 'pending' AND due <= %(now)s AND kind <> 'digest'
    ORDER BY id LIMIT %(most)s
)) RETURNING topic, word::text, late
"""
_SETTLE = """
WITH settled AS (
    UPDATE notifications SET state = %s, due = %s, settled = %s, answer = %s, attempts = attempts + 1
    WHERE id = %s AND state = 'pending' RETURNING id, attempts
)
INSERT INTO notification_attempts (notification, number, time, seconds, sent, answer)
SELECT id, attempts, %s, %s, %s, %s FROM settled
"""
_GONE = """
UPDATE notifications SET state = 'dead', settled = now(), answer = %s
WHERE state = 'pending' AND NOT receiver = ANY (%s)
"""
_EXPIRED = """
UPDATE notifications SET state = 'dead', settled = %(now)s,
    answer = CASE answer WHEN '' THEN 'given up before an attempt' ELSE 'given up: ' || answer END
WHERE id = ANY (ARRAY(
    SELECT id FROM notifications
    WHERE receiver = %(receiver)s AND state = 'pending' AND expires <= %(now)s LIMIT %(most)s
))
"""
_UNREADABLE = "UPDATE notifications SET state = 'dead', settled = %s, answer = %s WHERE id = %s"
_OLD = """
DELETE FROM notifications WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE settled < %s ORDER BY settled LIMIT 5000
))
"""


@dataclass(frozen=True)
class Pending:
    """One that is due."""

    id: int
    message: Message
    attempts: int
    expires: datetime


@dataclass(frozen=True)
class Attempt:
    """What became of one: `state` is pending if it is tried again at `due`."""

    id: int
    state: str
    due: datetime
    answer: str
    seconds: float


async def clock(connection: AsyncConnection) -> datetime:
    """The database's time, which is the same for all who send."""
    [(now,)] = await (await connection.execute("SELECT clock_timestamp()")).fetchall()
    return now  # type: ignore[no-any-return]


async def load(connection: AsyncConnection, receiver: Receiver, rule: Digest, now: datetime) -> Load:
    """How much a receiver has to get, and has got."""
    [(due, late)] = await (await connection.execute(_LOAD, (receiver.name, now))).fetchall()
    asked = {"receiver": receiver.name, "since": now - rule.within}
    [(sent, last)] = await (await connection.execute(_SENT, asked)).fetchall()
    return Load(due, late, sent, last)


async def heads(
    connection: AsyncConnection, receiver: Receiver, now: datetime, most: int, *, single: bool
) -> list[Pending]:
    """Those to be sent now, the oldest first; without `single` digests only. What cannot be read is dead."""
    asked = {"receiver": receiver.name, "now": now, "single": single, "most": most}
    found: list[Pending] = []
    for row in await (await connection.execute(_HEADS, asked)).fetchall():
        try:
            found.append(_pending(receiver.name, row))
        except (DecodeError, msgspec.MsgspecError) as error:
            await connection.execute(_UNREADABLE, (now, f"cannot be read: {error}"[:500], row[0]))
    return found


async def digest(connection: AsyncConnection, receiver: Receiver, channel: str, now: datetime) -> int:
    """Makes one of all that are due, in a transaction of the caller's; gives how many it stands for."""
    made = (now, receiver.name, channel, now, now + receiver.give_up)
    [(number,)] = await (await connection.execute(_NEW_DIGEST, made)).fetchall()
    taken = {"digest": number, "now": now, "receiver": receiver.name, "most": MOST_IN_DIGEST}
    rows = await (await connection.execute(_INTO_DIGEST, taken)).fetchall()
    words: list[AlarmMessage] = []
    for topic, text, _ in rows:
        with suppress(DecodeError):  # it counts all the same
            words.append(alarm.decode(topic, text.encode()))
    found = summary(words, sum(late for *_, late in rows))
    content = Jsonb(msgspec.to_builtins(found))
    await connection.execute("UPDATE notifications SET summary = %s WHERE id = %s", (content, number))
    return len(rows)


async def settle(connection: AsyncConnection, attempts: Sequence[Attempt], now: datetime) -> None:
    """Records what became of them, in a transaction of the caller's."""
    for one in attempts:
        settled = None if one.state == "pending" else now
        row = (one.state, one.due, settled, one.answer, one.id, now, one.seconds, one.state == "sent", one.answer)
        await connection.execute(_SETTLE, row)


async def give_up_gone(connection: AsyncConnection, receivers: Sequence[str]) -> int:
    """Those whose receiver is in the file no more are dead; gives how many."""
    return (await connection.execute(_GONE, (GONE, list(receivers)))).rowcount


async def give_up_expired(connection: AsyncConnection, receiver: Receiver, now: datetime) -> int:
    """Those that the receiver has not taken in time are dead; gives how many. None of them may be on its way."""
    asked = {"receiver": receiver.name, "now": now, "most": MOST_EXPIRED}
    return (await connection.execute(_EXPIRED, asked)).rowcount


async def drop_old(connection: AsyncConnection, now: datetime, keep: timedelta) -> int:
    """Deletes some that were settled so long ago; gives how many."""
    return (await connection.execute(_OLD, (now - keep,))).rowcount


def _pending(receiver: str, row: tuple[Any, ...]) -> Pending:
    number, key, route, kind, late, topic, word, told, attempts, expires = row
    message = Message(
        key,
        receiver,
        route,
        kind,
        late,
        None if word is None else alarm.decode(topic, word.encode()),
        None if told is None else msgspec.json.decode(told, type=Summary),
    )
    return Pending(number, message, attempts, expires)
