"""`GET /completeness`: what was due, read, sent and stored of each device and hour, and why anything is missing."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, LiteralString

from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import BaseModel, Field
from starlette.responses import Response

from console.access.door import Viewer
from console.api import answers
from console.api.parameters import FromYesterday, Text, To, span
from console.historian import completeness
from console.historian.completeness import HOUR, RUN_LENGTH, SILENT, Found, Key, Row
from console.parts import PartsDep
from console.problems import Problem
from nexus.contract import topic

MOST_ROWS = 20_000
LONGEST = timedelta(days=31)

# Or what came between two of the queries would be stored and not counted, or counted and not stored.
_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_ROWS = """
SELECT device, time, run, since, until, ended,
    read, marked, sent, repeated, receipted, dropped, away, resting, overran
FROM completeness WHERE time >= %(start)s AND time < %(stop)s AND (%(device)s::text IS NULL OR device = %(device)s)
ORDER BY device, time LIMIT %(most)s
"""
# A tag's name has no slash: what is before the last one is the device.
_STORED = """
SELECT left(topic, -strpos(reverse(topic), '/')) AS device, bucket, sum(count)::bigint FROM metrics_1hour
WHERE bucket >= %(start)s AND bucket < %(stop)s AND starts_with(topic, %(prefix)s) GROUP BY 1, 2
"""
_LATE = """
SELECT left(topic, -strpos(reverse(topic), '/')) AS device, date_trunc('hour', time, 'UTC'), count(*) FROM metrics_late
WHERE time >= %(start)s AND time < %(stop)s AND starts_with(topic, %(prefix)s) GROUP BY 1, 2
"""
_ALIVE = """
SELECT DISTINCT left(run, %(length)s) FROM completeness
WHERE time > now() - %(silent)s::interval - interval '1 hour' AND until > now() - %(silent)s::interval
"""
_HAS_LATE = "SELECT to_regclass('metrics_late') IS NOT NULL"
_REJECTED = """
SELECT topic, date_trunc('hour', time, 'UTC'), sum(greatest(1, coalesce(cardinality(tags), 1)))::bigint FROM rejects
WHERE time >= %(start)s AND time < %(stop)s AND starts_with(topic, %(prefix)s) GROUP BY 1, 2
"""

router = APIRouter(tags=["completeness"])


class Cause(BaseModel):
    """Why some are missing.

    `estimated` where nobody could count them, in the time from `from` to `to`. Of the others that is the time that was
    counted in the hour, and it is not known when in it they were due.
    """

    cause: Literal[
        "device away",
        "breaker open",
        "scan overran",
        "dropped",
        "rejected",
        "not in the database",
        "unconfirmed",
        "gateway down",
    ]
    count: int
    estimated: bool
    from_: str = Field(alias="from")
    to: str


class Hour(BaseModel):
    """Readings of a device in an hour of their times; counted until `until`."""

    device: str
    hour: str
    until: str
    due: int
    read: int
    suppressed: int
    sent: int
    receipted: int
    stored: int
    duplicate: int
    late: int
    rejected: int
    uncounted: int
    missing: int
    causes: list[Cause]


class Hours(BaseModel):
    """By device and hour, all of a range."""

    items: list[Hour]
    next: None = None


@router.get("/completeness", response_model=Hours, responses=answers.LINES)
async def list_completeness(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    device: Annotated[Text | None, Query(max_length=1_024)] = None,
    from_: FromYesterday = None,
    to: To = None,
) -> Response:
    """By device and hour (of the readings' times).

    `due` is `read` and what the causes "device away", "breaker open" and "scan overran" count; `sent` is without what
    was `suppressed` (report by exception), and with the readings of bad quality that say that the device gave none.
    What is sent and not `receipted` yet is on its way. "gateway down" is estimated.
    """
    start, stop = span(from_ or (to or datetime.now(UTC)) - timedelta(days=1), to)[:2]
    start = start.replace(minute=0, second=0, microsecond=0)
    if stop - start > LONGEST:
        raise Problem(422, "Too long", f"ask for at most {LONGEST.days} days at once")
    prefix = topic.device(device or "")
    bounds = {"start": start, "stop": stop, "device": device, "most": MOST_ROWS + 1, "prefix": prefix}
    async with parts.database.connection() as connection, connection.transaction():
        await connection.execute(_ONE_MOMENT)
        async with connection.cursor(row_factory=class_row(Row)) as cursor:
            rows = await (await cursor.execute(_ROWS, bounds)).fetchall()
        now = datetime.now(UTC)
        if len(rows) > MOST_ROWS:
            raise Problem(422, "Too much", "ask for one device, or for a shorter time")
        found = await _found(connection, bounds, {row.device for row in rows})
    return answers.items(request, completeness.items(rows, found, start, max(stop, start + HOUR), now))


async def _found(connection: AsyncConnection, bounds: dict[str, Any], devices: set[str]) -> Found:
    stored = await _counted(connection, _STORED, bounds)
    [has_late] = await (await connection.execute(_HAS_LATE)).fetchone() or [False]
    late = await _counted(connection, _LATE, bounds) if has_late else {}
    rejected: dict[Key, int] = {}
    for (name, hour), count in (await _counted(connection, _REJECTED, bounds)).items():
        path = name if name in devices else name.rpartition("/")[0]
        rejected[path, hour] = rejected.get((path, hour), 0) + count
    alive = await connection.execute(_ALIVE, {"length": RUN_LENGTH, "silent": SILENT})
    return Found(stored, late, rejected, {run for (run,) in await alive.fetchall()})


async def _counted(connection: AsyncConnection, query: LiteralString, bounds: dict[str, Any]) -> dict[Key, int]:
    rows = await (await connection.execute(query, bounds)).fetchall()
    return {(name.removeprefix(topic.ROOT), hour.astimezone(UTC)): count for name, hour, count in rows}
