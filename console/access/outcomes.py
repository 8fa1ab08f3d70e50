"""Audit rows of what was done already: they cannot be refused, and wait in memory while the database is away."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout

from console.database import Database
from console.historian import times
from nexus.process import log

MOST_WAITING = 1_000
PATIENCE_SECONDS = 2.0  # who acted waits so long for the row
_PAUSE_SECONDS = 1.0  # between attempts

Row = Sequence[Any]


@dataclass(slots=True)
class _Waiting:
    row: Row  # its last is the detail
    came: datetime
    committed: asyncio.Event = field(default_factory=asyncio.Event)

    def dated(self, now: datetime) -> Row:
        """The row, with the time of what it tells where it comes late."""
        if (now - self.came).total_seconds() < PATIENCE_SECONDS:
            return self.row
        return *self.row[:-1], Jsonb({**self.row[-1].obj, "done": times.text(self.came)})


class Outcomes:
    """Adds rows in the order in which they came, each at least once; beyond 1,000 a new one is only logged."""

    def __init__(self, database: Database, insert: LiteralString) -> None:
        self._database = database
        self._insert = insert
        self._waiting: deque[_Waiting] = deque()
        self._come = asyncio.Event()
        self._log = log.get("audit")

    async def add(self, row: Row) -> bool:
        """Whether it is committed within moments; else it comes later. Raises nothing."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost(row, f"{MOST_WAITING:,} wait for the database")
            return False
        waiting = _Waiting(row, datetime.now(UTC))
        self._waiting.append(waiting)
        self._come.set()
        try:
            await asyncio.wait_for(waiting.committed.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Adds what comes, until cancelled; what waits then is in the log."""
        was_away = False
        try:
            while True:
                self._come.clear()
                fault = await self._added()
                if fault is not None and not was_away:
                    self._log.warning("outcomes wait for the database", reason=fault)
                elif fault is None and was_away:
                    self._log.info("outcomes that waited are recorded")
                was_away = fault is not None
                await (asyncio.sleep(_PAUSE_SECONDS) if was_away else self._come.wait())
        finally:
            for one in self._waiting:
                self._lost(one.row, "the console stops")

    async def _added(self) -> str | None:
        """Adds all that wait; gives why it cannot."""
        while self._waiting:
            one = self._waiting[0]
            try:
                async with self._database.brief() as connection:
                    await connection.execute(self._insert, one.dated(datetime.now(UTC)))
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                self._lost(one.row, str(error))
                self._waiting.popleft()
                continue
            except (psycopg.Error, PoolTimeout) as error:
                return str(error).partition("\n")[0] or type(error).__name__
            self._waiting.popleft()
            one.committed.set()
        return None

    def _lost(self, row: Row, reason: str) -> None:
        self._log.error("an outcome is in no table", row=[str(value)[:200] for value in row], reason=reason)
