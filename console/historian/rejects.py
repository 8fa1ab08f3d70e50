"""What could not be stored, and why."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection

from console.historian import times

SHOWN_BYTES = 2_000
RETRIED = 10_000  # at most, of one request
_COUNTED = 100_000  # of the newest, by reason

_FOUND = """
SELECT id, time AT TIME ZONE 'UTC', topic, source, tags, reason,
       substring(payload FOR %(bytes)s), octet_length(payload), retry < 'infinity', tried
FROM rejects
WHERE id < %(before)s AND reason ILIKE %(reason)s AND topic LIKE %(topic)s
ORDER BY id DESC
LIMIT %(limit)s
"""
_CHOSEN = """
CASE WHEN cardinality(%(ids)s::bigint[]) > 0 THEN id = ANY (%(ids)s) ELSE reason ILIKE %(reason)s END
"""
# Those that have been tried come last: else incurable ones would keep all others waiting.
_RETRY: LiteralString = """
UPDATE rejects SET retry = now()
WHERE id IN (
    SELECT id FROM rejects WHERE {}
    ORDER BY retry NULLS FIRST, tried NULLS FIRST, id LIMIT %(most)s
)
""".replace("{}", _CHOSEN)
_LEFT: LiteralString = "SELECT count(*) FROM rejects WHERE {} AND retry IS NULL".replace("{}", _CHOSEN)
_REASONS = """
SELECT left(reason, 200), count(*) FROM (
    SELECT reason FROM rejects ORDER BY id DESC LIMIT %s
) AS newest
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20
"""


async def find(connection: AsyncConnection, reason: str, topic: str, before: int, limit: int) -> list[dict[str, Any]]:
    """The newest first, whose reason holds `reason`, and whose topic is like `topic`, where * stands for anything."""
    asked = {
        "reason": f"%{_like(reason)}%",
        "topic": _like(topic).replace("*", "%") or "%",
        "before": before,
        "limit": limit,
        "bytes": SHOWN_BYTES,
    }
    return [_shown(row) for row in await (await connection.execute(_FOUND, asked)).fetchall()]


async def retry(connection: AsyncConnection, ids: Sequence[int], reason: str) -> tuple[int, int]:
    """Asks the ingesters to try some again: by their numbers, or by a text in their reason.

    Gives how many, and how many of those that were meant are left: one request asks for so many, and no more.
    """
    chosen = {"ids": list(ids), "reason": f"%{_like(reason)}%", "most": RETRIED}
    asked = (await connection.execute(_RETRY, chosen)).rowcount
    [(left,)] = await (await connection.execute(_LEFT, chosen)).fetchall()
    return asked, left


async def reasons(connection: AsyncConnection) -> list[dict[str, Any]]:
    """How many there are of each, the commonest first."""
    rows = await (await connection.execute(_REASONS, (_COUNTED,))).fetchall()
    return [{"reason": reason, "count": count} for reason, count in rows]


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    number, time, topic, source, tags, reason, payload, size, asked, tried = row
    return {
        "id": number,
        "time": times.text(time),
        "topic": topic,
        "source": source,
        "tags": tags,
        "reason": reason,
        "payload": bytes(payload).decode("utf-8", "backslashreplace"),
        "bytes": size,
        "retry": None if asked is None else "asked" if asked else "under way",
        "tried": times.text_or_none(tried),
    }


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
