"""Fetches from the database the last value of topics that somebody begins to watch."""

import asyncio
from collections import OrderedDict
from itertools import islice

import psycopg
from psycopg_pool import PoolTimeout

from console.database import Database, reason
from console.historian import last
from console.live import epoch
from console.live.values import Values
from nexus.process import log

AT_ONCE = 1_000  # topics of one query
RETRY_SECONDS = 5.0


class LastKnown:
    """One query at a time, however many clients come at once."""

    def __init__(self, database: Database, values: Values) -> None:
        self._database = database
        self._values = values
        self._wanted: OrderedDict[str, None] = OrderedDict()  # of what is watched
        self._wake = asyncio.Event()
        self._is_away = False
        self._log = log.get("live")

    @property
    def waiting(self) -> int:
        """Topics whose value is still to be fetched."""
        return len(self._wanted)

    def want(self, topic: str) -> None:
        """Fetches the topic's value soon."""
        self._wanted[topic] = None
        self._wake.set()

    def forget(self, topic: str) -> None:
        """Nobody watches it any more."""
        self._wanted.pop(topic, None)

    def want_all(self) -> None:
        """Fetches the values of all that is watched: something may have been missed."""
        self._wanted.update(dict.fromkeys(self._values))
        self._wake.set()

    async def run(self) -> None:
        """Fetches as long as it runs; while the database is away it tries again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while asked := list(islice(self._wanted, AT_ONCE)):
                try:
                    await self._fetch(asked)
                except (psycopg.Error, PoolTimeout) as error:
                    self._note(reason(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self._note(None)
                for topic in asked:
                    self._wanted.pop(topic, None)

    async def _fetch(self, asked: list[str]) -> None:
        async with self._database.connection() as connection:
            for row in await last.values(connection, asked):
                time = epoch.milliseconds(row["time"])
                self._values.known(row["topic"], time, row["value"], row["quality"], row["unit"])

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and not self._is_away:
            self._log.warning("last values cannot be had: the database is away", error=trouble)
        self._is_away = trouble is not None
