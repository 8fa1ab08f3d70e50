"""What the database says of the plant now: when each device was stored last, who ingests, and how far behind."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from console.database import Database
from console.historian import queries
from console.historian.catalogue import Catalogue
from db.migrate import LICENSE, Tier, tier_of
from nexus.contract import topic as topics

GOOD_SECONDS = 3.0  # an answer is given to all who ask within this time …
GOOD_TIMES = 10  # … or within so many times as long as it took
LONGEST_AGO = timedelta(days=7)  # a device that was stored last before that shows no time
_TAGS = 3  # of a device that are looked at: one may be sent on changes only
_CONSUMERS = """
SELECT consumer_group, number, EXISTS (
    SELECT FROM pg_stat_activity AS live WHERE live.usesysid = login AND live.application_name = application
) FROM consumers ORDER BY consumer_group, number
"""


@dataclass(frozen=True)
class Stored:
    """`last` is by device path, `consumers` are group, number and whether it is connected."""

    tier: Tier
    last: dict[str, datetime]
    consumers: list[dict[str, Any]]
    at: datetime

    @property
    def lag_seconds(self) -> float | None:
        """Since the newest reading that is stored; None if there is none lately."""
        return max(0.0, (self.at - max(self.last.values())).total_seconds()) if self.last else None


class StoredNow:
    """The answer, a few seconds old, and one query at a time: however many ask, the database has other things to do."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
        self._known: Stored | None = None
        self._good_until = float("-inf")
        self._turn = asyncio.Lock()

    async def get(self, paths: Sequence[str]) -> Stored:
        """For these devices. Raises psycopg.Error and PoolTimeout."""
        async with self._turn:
            clock = asyncio.get_running_loop().time
            began = clock()
            if self._known is None or began > self._good_until:
                self._known = await self._ask(paths)
                self._good_until = clock() + max(GOOD_SECONDS, GOOD_TIMES * (clock() - began))
            return self._known

    async def _ask(self, paths: Sequence[str]) -> Stored:
        await self._catalogue.refresh()
        devices = {topic: path for path in paths for topic in some_tags(self._catalogue.topics, path)}
        at, last = datetime.now(UTC), dict[str, datetime]()
        async with self._database.connection() as connection:
            tier = tier_of(await (await connection.execute(LICENSE)).fetchone())
            consumers = await (await connection.execute(_CONSUMERS)).fetchall()
            asked = {"topics": list(devices), "since": at - LONGEST_AGO}
            for topic, time, *_ in await (await connection.execute(queries.LAST, asked, binary=True)).fetchall():
                path, moment = devices[topic], time.replace(tzinfo=UTC)
                last[path] = max(last.get(path, moment), moment)
        named = [{"group": group, "number": number, "connected": live} for group, number, live in consumers]
        return Stored(tier, last, named, at)


def some_tags(known: Sequence[str], path: str) -> list[str]:
    """A few of a device's topics, from all that are known, in order: the first, the last and one between."""
    prefix = topics.tag(path, "")
    start, end = bisect_left(known, prefix), bisect_left(known, f"{prefix}\U0010ffff")
    if end - start <= _TAGS:
        return list(known[start:end])
    return [known[start], known[(start + end) // 2], known[end - 1]]
