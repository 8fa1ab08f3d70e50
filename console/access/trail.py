"""Reads the audit: the console's own rows, and what gateways recorded of writes, whoever asked for them."""

from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import BaseModel, Field

# Newest first, each table by its index on time and only as far as a page goes. A gateway records `audit/…` of `dev/…`.
_PAGE: LiteralString = """
SELECT time, source, key, event, person, via, address, topic, old, new, ok, detail FROM (
    (SELECT time, 'console' AS source, lpad(id::text, 20, '0') AS key, event, person, via, address, topic, old, new,
            ok, detail
     FROM console_audit
     WHERE time <= %(until)s AND time >= %(since)s
       AND (time, 'console', lpad(id::text, 20, '0')) < (%(until)s, %(source)s, %(key)s)
       AND (%(person)s::text IS NULL OR person = %(person)s) AND (%(topic)s::text IS NULL OR topic = %(topic)s
            OR starts_with(topic, 'alarm/' || substr(%(topic)s::text, 5) || '/'))
       AND (%(event)s::text IS NULL OR event = %(event)s)
     ORDER BY time DESC, key DESC LIMIT %(most)s)
    UNION ALL
    (SELECT time, 'gateway', id, event, coalesce(by, ''), 'gateway', '', 'dev/' || substr(topic, 7),
            detail -> 'was', detail -> 'now', ok, detail
     FROM audit
     WHERE time <= %(until)s AND time >= %(since)s
       AND (time, 'gateway', id) < (%(until)s, %(source)s, %(key)s)
       AND (%(person)s::text IS NULL OR by = %(person)s)
       AND (%(topic)s::text IS NULL OR topic = 'audit/' || substr(%(topic)s::text, 5)
            OR detail ->> 'alarm' = %(topic)s)
       AND (%(event)s::text IS NULL OR event = %(event)s)
     ORDER BY time DESC, id DESC LIMIT %(most)s)
) AS both_of_them ORDER BY time DESC, source DESC, key DESC LIMIT %(most)s
"""
_LAST = "\uffff"  # after every source and key


class Entry(BaseModel):
    """A row. `via` says how the person was known, `source` who recorded it; ok is null while the outcome is open."""

    time: datetime
    source: str
    key: str = Field(exclude=True)
    event: str
    person: str
    via: str
    address: str
    topic: str | None
    old: Any
    new: Any
    ok: bool | None
    detail: dict[str, Any]


class Which(BaseModel):
    """Which rows: all that are given must be so."""

    person: str | None = None
    topic: str | None = None
    event: str | None = None
    since: datetime
    until: datetime


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """The last row of a page."""

    time: datetime
    source: str
    key: str


async def page(connection: AsyncConnection, which: Which, after: Cursor | None, most: int) -> list[Entry]:
    """The newest of them, or the newest that are older than the cursor's."""
    position = after or Cursor(which.until, _LAST, _LAST)
    given = {**which.model_dump(), "until": position.time, "source": position.source, "key": position.key, "most": most}
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(_PAGE, given)
        return await cursor.fetchall()
