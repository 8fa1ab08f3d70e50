"""Notifications, the newest first, with what was tried; and those that are to be tried again."""

from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

COUNTED = 10_000  # no further than that: a larger backlog would cost what it does not tell

_FOUND: LiteralString = """
SELECT id::text, created, receiver, channel, route, kind, key, state, late, topic, word ->> 'event' AS event,
       word ->> 'priority' AS priority, word ->> 'text' AS text,
       to_timestamp((word ->> 'ts')::float8 / 1000) AS happened, summary, digest::text, due, expires, settled, answer,
       attempts AS attempted, remaining, refused
FROM notifications
WHERE id < %(after)s AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(receiver)s::text IS NULL OR receiver = %(receiver)s)
  AND (%(topic)s::text IS NULL OR topic = %(topic)s) AND (%(digest)s::bigint IS NULL OR digest = %(digest)s)
ORDER BY notifications.id DESC LIMIT %(limit)s
"""
_ATTEMPTS: LiteralString = """
SELECT notification::text, number, time, seconds, sent, answer FROM (
    SELECT *, row_number() OVER (PARTITION BY notification ORDER BY number DESC) AS back
    FROM notification_attempts WHERE notification = ANY (%s::bigint[])
) AS newest WHERE back <= 10 ORDER BY notification, number
"""
_COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM (SELECT FROM notifications WHERE state = 'pending' LIMIT %(most)s) AS pending),
    (SELECT count(*) FROM (SELECT FROM notifications WHERE state = 'dead' LIMIT %(most)s) AS dead)
"""
# One by one, by the index: there may be millions of rows, and they have few receivers.
_RECEIVERS: LiteralString = """
WITH RECURSIVE known AS (
    (SELECT receiver FROM notifications ORDER BY receiver LIMIT 1)
    UNION ALL
    SELECT next.receiver FROM known CROSS JOIN LATERAL (
        SELECT receiver FROM notifications WHERE receiver > known.receiver ORDER BY receiver LIMIT 1
    ) AS next
)
SELECT receiver FROM known
"""
_RETRY: LiteralString = """
UPDATE notifications SET state = 'pending', settled = NULL, refused = '{}', due = clock_timestamp(),
    expires = clock_timestamp() + interval '1 day'
WHERE id = %s AND state = 'dead' AND channel <> 'alertmanager' RETURNING topic, receiver
"""


NOT_AGAIN = "only what was given up is sent again, and nothing to an Alertmanager, which is told by itself what stands"


async def find(connection: AsyncConnection, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The newest; `asked` has state, receiver, topic and digest, each or None, `after` and `limit`."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        found = await (await cursor.execute(_FOUND, asked)).fetchall()
        attempts = await (await cursor.execute(_ATTEMPTS, ([row["id"] for row in found],))).fetchall()
    of: dict[str, list[dict[str, Any]]] = {row["id"]: [] for row in found}
    for one in attempts:
        of[one.pop("notification")].append(one)
    return [{**row, "attempts": of[row["id"]]} for row in found]


async def counts(connection: AsyncConnection) -> tuple[int, int]:
    """How many wait, and how many are dead, counted to 10,000."""
    [(pending, dead)] = await (await connection.execute(_COUNTS, {"most": COUNTED})).fetchall()
    return pending, dead


async def receivers(connection: AsyncConnection) -> list[str]:
    """All that ever had a notification, in order."""
    return [name for (name,) in await (await connection.execute(_RECEIVERS)).fetchall()]


async def retry(connection: AsyncConnection, number: int) -> tuple[str, str] | None:
    """Has a dead one sent again, for a day; gives its alarm's topic and its receiver, or None if it is not dead.

    None as well of an Alertmanager: it holds states, and what this one tells may be over.
    """
    return await (await connection.execute(_RETRY, (number,))).fetchone()
