"""The tags that there are: a copy of the table `topics`, searched while people type."""

import asyncio
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from console.database import Database

MOST = 500_000  # topics; of more, those that come first by name are known
_GOOD_SECONDS = 3.0  # then it is asked what is new
_WHOLE_SECONDS = 3600.0  # then it is read whole
_OVERLAP = timedelta(hours=1)  # `since` is when a transaction began: one that took longer is seen with the whole
_ALL = "SELECT topic, since FROM topics WHERE since >= %s ORDER BY topic LIMIT %s"


class Catalogue:
    """Topics in order, with the time that each was first stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since: dict[str, datetime] = {}
        self.topics: Sequence[str] = ()
        self._folded: Sequence[str] = ()
        self._fresh = self._whole = float("-inf")
        self._turn = asyncio.Lock()

    def since(self, topic: str) -> datetime | None:
        """When it was first stored; None if it is not known."""
        return self._since.get(topic)

    async def refresh(self) -> None:
        """Makes it a few seconds old at most. Raises psycopg.Error."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._fresh < _GOOD_SECONDS:
                return
            whole = now - self._whole > _WHOLE_SECONDS
            await self._read(datetime(1970, 1, 1, tzinfo=UTC) if whole else self._newest() - _OVERLAP, whole=whole)
            self._fresh = now
            self._whole = now if whole else self._whole

    def _newest(self) -> datetime:
        return max(self._since.values(), default=datetime(1970, 1, 2, tzinfo=UTC))

    async def _read(self, since: datetime, *, whole: bool) -> None:
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_ALL, (since, MOST), binary=True)).fetchall()
        found: dict[str, datetime] = dict(rows)
        if not whole:
            if found.keys() <= self._since.keys():
                return
            found = self._since | found
        self.topics = sorted(found)[:MOST]
        self._since = {topic: found[topic] for topic in self.topics}
        self._folded = [low if (low := topic.casefold()) != topic else topic for topic in self.topics]

    def search(self, words: Collection[str], prefix: str, units: Mapping[str, str]) -> list[str]:
        """Topics that begin with `prefix` and have all the words in them, or in their unit, whatever their case."""
        wanted = [word.casefold() for word in words]
        found = [
            topic
            for topic, folded in zip(self.topics, self._folded, strict=True)
            if topic.startswith(prefix) and all(word in folded for word in wanted)
        ]
        if not wanted or not units:
            return found
        return sorted({*found, *_by_unit(wanted, prefix, units)})


def _by_unit(wanted: Collection[str], prefix: str, units: Mapping[str, str]) -> list[str]:
    texts = ((topic, f"{topic} {unit}".casefold()) for topic, unit in units.items() if topic.startswith(prefix))
    return [topic for topic, text in texts if all(word in text for word in wanted)]


def page(topics: Sequence[str], after: str, limit: int) -> tuple[Sequence[str], str | None]:
    """So many of `topics` after one, and what to ask for next; None at the end."""
    first = bisect_right(topics, after) if after else 0
    found = topics[first : first + limit]
    return found, found[-1] if first + limit < len(topics) else None
