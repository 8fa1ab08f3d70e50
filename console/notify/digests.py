"""Digests in the outbox: how much waits for a receiver, and one notification of all of that."""

from datetime import datetime
from typing import LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from console.notify.flood import Digest, Load
from console.notify.outbox import OF_RECEIVER
from console.notify.receiver_keys import Receiver
from console.notify.summary import Tally
from nexus.contract import alarm
from nexus.contract.codec import DecodeError

MOST = 5_000  # that one statement takes

# More than the rule allows need no counting. A mail that some have has been sent, whatever becomes of the others.
_LOAD: LiteralString = f"""
SELECT count(*), count(*) FILTER (WHERE late),
    (SELECT count(*) FROM (
        SELECT FROM notifications
        WHERE receiver = %(receiver)s AND state = 'sent' AND kind <> 'digest' AND settled > %(since)s LIMIT %(most)s
    ) AS sent) + (SELECT count(*) FROM (
        SELECT FROM notifications
        WHERE receiver = %(receiver)s AND remaining IS NOT NULL AND kind <> 'digest' AND created > %(since)s
        LIMIT %(most)s
    ) AS partly),
    (SELECT max(created) FROM notifications WHERE receiver = %(receiver)s AND kind = 'digest')
FROM (
    SELECT late FROM notifications
    WHERE {OF_RECEIVER} AND remaining IS NULL AND due <= %(now)s AND kind <> 'digest'
    ORDER BY receiver, due LIMIT %(most)s
) AS due
"""  # noqa: S608
_NEW = """
INSERT INTO notifications (created, receiver, channel, route, kind, key, due, expires)
VALUES (%s, %s, %s, '', 'digest', md5(random()::text || clock_timestamp()::text), %s, %s) RETURNING id
"""
# Also those that are tried again: none of an alarm's is overtaken by its later ones in the digest.
_TAKE: LiteralString = f"""
UPDATE notifications SET state = 'digested', digest = %(digest)s, settled = %(now)s
WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE {OF_RECEIVER} AND remaining IS NULL AND kind <> 'digest'
    ORDER BY receiver, id LIMIT %(most)s
)) RETURNING id, topic, word::text, late
"""  # noqa: S608


async def load(connection: AsyncConnection, receiver: Receiver, rule: Digest, now: datetime) -> Load:
    """How much a receiver has to get, and has got; counted as far as `rule` asks."""
    asked = {"receiver": receiver.name, "now": now, "since": now - rule.within, "most": rule.above + 1}
    [(due, late, sent, last)] = await (await connection.execute(_LOAD, asked)).fetchall()
    return Load(due, late, sent, last)


class Gathering:
    """A digest that takes what waits, some in each transaction: as far as it has come, it is whole at each commit."""

    def __init__(self, receiver: Receiver, channel: str, now: datetime) -> None:
        self._receiver = receiver
        self._channel = channel
        self._now = now
        self._tally = Tally(int(now.timestamp() * 1000))
        self._number: int | None = None

    @property
    def count(self) -> int:
        """How many it stands for."""
        return self._tally.count

    async def take(self, connection: AsyncConnection) -> bool:
        """Takes some, in a transaction of the caller's; whether there may be more. Raises psycopg.Error."""
        if self._number is None:
            self._number = await self._begun(connection)
        asked = {"digest": self._number, "now": self._now, "receiver": self._receiver.name, "most": MOST}
        rows = await (await connection.execute(_TAKE, asked)).fetchall()
        for _, topic, text, late in sorted(rows):
            try:
                self._tally.add(alarm.decode(topic, text.encode()), late=late)
            except DecodeError:
                self._tally.add(None, late=late)  # it counts all the same
        content = Jsonb(msgspec.to_builtins(self._tally.summary()))
        await connection.execute("UPDATE notifications SET summary = %s WHERE id = %s", (content, self._number))
        return len(rows) == MOST

    async def _begun(self, connection: AsyncConnection) -> int:
        made = (self._now, self._receiver.name, self._channel, self._now, self._now + self._receiver.give_up)
        [(number,)] = await (await connection.execute(_NEW, made)).fetchall()
        return int(number)
