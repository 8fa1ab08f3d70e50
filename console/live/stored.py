"""What the database says of the plant now: when each device was stored last, who ingests, and how far behind."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from console.database import BusyError, Database
from console.historian import queries
from console.historian.catalogue import Catalogue
from console.turns import asker
from db.migrate import LICENSE, Tier, tier_of
from nexus.contract import topic as topics

WAIT_SECONDS = 2.0  # for an answer; what comes later is for those who ask then
GOOD_SECONDS = 3.0  # an answer is given to all who ask within this time …
GOOD_TIMES = 10  # … or within so many times as long as it took
LONGEST_AGO = timedelta(days=7)  # a device that was stored last before that shows no time
_TAGS = 3  # of a device that are looked at: one may be sent on changes only
_CONSUMERS = """
SELECT consumer_group, number, is_live, CASE WHEN is_live AND lag_at > now() - INTERVAL '1 minute' THEN lag END
FROM consumers, LATERAL (SELECT EXISTS (
    SELECT FROM pg_stat_activity AS live WHERE live.usesysid = login AND live.application_name = application
) AS is_live) AS connected ORDER BY consumer_group, number
"""


@dataclass(frozen=True)
class Stored:
    """`last` is by device path, `consumers` are group, number and whether it is connected.

    `lag_seconds` is from a reading to its commit, where that takes longest; None if no ingester says.
    """

    tier: Tier
    last: dict[str, datetime]
    consumers: list[dict[str, Any]]
    lag_seconds: float | None


class StoredNow:
    """The answer, a few seconds old, and one query at a time: however many ask, the database has other things to do."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
        self._known: Stored | None = None
        self._good_until = float("-inf")
        self._asking: asyncio.Task[Stored] | None = None

    async def get(self, paths: Sequence[str]) -> Stored:
        """For these devices. Raises psycopg.Error, PoolTimeout, and TimeoutError when it takes too long to wait for."""
        if self._known is not None and asyncio.get_running_loop().time() <= self._good_until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew(paths), name="stored")
            self._asking.add_done_callback(self._asked)
        async with asyncio.timeout(WAIT_SECONDS):
            return await asyncio.shield(self._asking)

    async def _renew(self, paths: Sequence[str]) -> Stored:
        clock = asyncio.get_running_loop().time
        asker.set("")  # it is for all who ask
        began = clock()
        self._known = await self._ask(paths)
        self._good_until = clock() + max(GOOD_SECONDS, GOOD_TIMES * (clock() - began))
        return self._known

    def _asked(self, task: "asyncio.Task[Stored]") -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waited for it has been told

    async def _ask(self, paths: Sequence[str]) -> Stored:
        with suppress(BusyError):  # what was known a while ago will do
            await self._catalogue.refresh()
        devices = {topic: path for path in paths for topic in some_tags(self._catalogue.topics, path)}
        at, last = datetime.now(UTC), dict[str, datetime]()
        async with self._database.brief() as connection:
            tier = tier_of(await (await connection.execute(LICENSE)).fetchone())
            consumers = await (await connection.execute(_CONSUMERS)).fetchall()
            asked = {"topics": list(devices), "since": at - LONGEST_AGO}
            for topic, time, *_ in await (await connection.execute(queries.LAST, asked, binary=True)).fetchall():
                path, moment = devices[topic], time.replace(tzinfo=UTC)
                last[path] = max(last.get(path, moment), moment)
        named = [{"group": group, "number": number, "connected": live} for group, number, live, _ in consumers]
        lag = max((lag for *_, lag in consumers if lag is not None), default=None)
        return Stored(tier, last, named, lag)


def some_tags(known: Sequence[str], path: str) -> list[str]:
    """A few of a device's topics, from all that are known, in order: the first, the last and one between."""
    prefix = topics.tag(path, "")
    start, end = bisect_left(known, prefix), bisect_left(known, f"{prefix}\U0010ffff")
    if end - start <= _TAGS:
        return list(known[start:end])
    return [known[start], known[(start + end) // 2], known[end - 1]]
