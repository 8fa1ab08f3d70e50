"""Retries rejects that somebody has selected in the console; looks for them from time to time."""

import asyncio

import psycopg

from ingestion.settings import Settings
from ingestion.store.database import DatabaseAwayError, connect
from ingestion.store.rejects import One, Retry, one_of
from nexus.process import log

LOOK_SECONDS = 5.0
_AT_ONCE = 500


class Retries:
    """Takes requested retries, in turns with other ingesters; what is refused again stays."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = log.get("retries")

    async def run(self) -> None:
        """Looks for requests for ever. While the database is away there is nothing to do: others report that."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (DatabaseAwayError, psycopg.Error):
                continue

    async def _look(self) -> None:
        async with await connect(self._settings.database_url, "nexus retries") as connection:
            while found := await _taken(connection):
                async with Retry(self._settings, "SELECT drop_taken_rejects(%s)") as again:
                    done = await again.store(found)
                await connection.execute("SELECT keep_taken_rejects(%s)", ([one.id for one in found],))
                self._log.info("rejects tried again", stored=done.stored, refused=done.refused)


async def _taken(connection: psycopg.AsyncConnection) -> list[One]:
    rows = await (await connection.execute("SELECT * FROM take_rejects(%s)", (_AT_ONCE,))).fetchall()
    return sorted(map(one_of, rows))
