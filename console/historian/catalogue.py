"""The tags that there are: a copy of the table `topics`, searched while people type."""

import asyncio
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from console.database import Database
from nexus.contract.description import TagDescription

MOST = 500_000  # topics; of more, those that come first by name are known
_GOOD_SECONDS = 5.0  # then it is asked what is new
_WHOLE_SECONDS = 3600.0  # then it is read whole
_OVERLAP = timedelta(minutes=5)  # `since` is when a transaction began: one that took longer is seen with the whole
_NEW = "SELECT topic, since FROM topics WHERE since >= %s ORDER BY topic LIMIT %s"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Catalogue:
    """Topics in order, with the time that each was first stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since: dict[str, datetime] = {}
        self.topics: Sequence[str] = ()
        self._pairs: list[tuple[str, str]] = []  # topics, and without their case
        self._fresh = self._whole = float("-inf")
        self._seen = _BEGINNING  # by the database's clock
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
            await self._read(whole=whole)
            self._fresh = now
            self._whole = now if whole else self._whole

    async def _read(self, *, whole: bool) -> None:
        since = _BEGINNING if whole else self._seen - _OVERLAP
        async with self._database.connection() as connection:
            [(seen,)] = await (await connection.execute("SELECT now()")).fetchall()
            rows = await (await connection.execute(_NEW, (since, MOST), binary=True)).fetchall()
        self._seen = seen
        found: dict[str, datetime] = dict(rows)
        if whole or not found.keys() <= self._since.keys():
            self.take(found if whole else self._since | found)

    def take(self, found: dict[str, datetime]) -> None:
        """Takes what there is, in place of what was known."""
        self.topics = topics = sorted(found)[:MOST]
        self._since = {topic: found[topic] for topic in topics}
        self._pairs = [(topic, topic if (low := topic.casefold()) == topic else low) for topic in topics]

    def search(self, words: Collection[str], prefix: str, described: Mapping[str, TagDescription]) -> list[str]:
        """Topics, stored or described, that begin with `prefix` and have all the words in them, or in their unit.

        Their case does not matter.
        """
        wanted = [word.casefold() for word in words]
        pairs = self._pairs
        if prefix:
            beyond = prefix + chr(sys.maxunicode)
            pairs = pairs[bisect_left(pairs, (prefix, "")) : bisect_left(pairs, (beyond, ""))]
        for word in wanted:
            pairs = [pair for pair in pairs if word in pair[1]]
        found = [topic for topic, _ in pairs]
        more = set(_beyond(wanted, described, self._since))
        if not more:
            return found
        return sorted({*found, *(topic for topic in more if topic.startswith(prefix))})


def _beyond(wanted: Sequence[str], described: Mapping[str, TagDescription], stored: Collection[str]) -> Iterator[str]:
    """Of the described tags, those that are found by their unit, or are not stored yet."""
    units = {tag.unit.casefold() for tag in described.values() if tag.unit}
    if any(word in unit for word in wanted for unit in units):
        texts = ((topic, f"{topic} {tag.unit or ''}".casefold()) for topic, tag in described.items())
    else:
        texts = ((topic, topic.casefold()) for topic in described if topic not in stored)
    for topic, text in texts:
        if all(word in text for word in wanted):
            yield topic


def page(topics: Sequence[str], after: str, limit: int) -> tuple[Sequence[str], str | None]:
    """So many of `topics` after one, and what to ask for next; None at the end."""
    first = bisect_right(topics, after) if after else 0
    found = topics[first : first + limit]
    return found, found[-1] if first + limit < len(topics) else None
