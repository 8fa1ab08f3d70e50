"""A stable client id: the lowest number that no other ingester of the group holds.

A broker keeps the unacknowledged messages of a shared subscriber in that subscriber's session. Whoever takes a dead
ingester's number takes its session, and with it the messages.
"""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from ingestion import metrics
from ingestion.store.database import connect, explain
from nexus.process import log

SLOTS = 256
CHECK_SECONDS = 5.0
_CLAIM = "SELECT claim_number(%s, %s, %s)"
_SAY = "UPDATE consumers SET lag = %s, lag_at = now() WHERE consumer_group = %s AND number = %s"


class SlotLostError(Exception):
    """Another ingester has our number."""


class Slot:
    """A number that is ours as long as our database connection lives; after an outage we ask for the same one."""

    def __init__(self, url: str, group: str) -> None:
        self._url = url
        self._group = group
        self._name = f"nexus consumer {uuid4().hex}"  # of our connection: as long as it lives, so do we
        self._connection: AsyncConnection | None = None
        self._checking = asyncio.Lock()
        self._log = log.get("slot")
        self.number = -1
        self.away: str | None = None  # why the database assigns no number

    async def claim(self) -> None:
        """Takes the lowest free number, waiting for the database if need be."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(psycopg.Error),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=self._waiting,
        )
        async for attempt in retrying:
            with attempt:
                await self._disconnect()
                number = await self._claimed(None)
                if number is None:
                    raise psycopg.OperationalError(f"all {SLOTS} consumer numbers of this group are taken")
                self.number = number
        self.away = None
        metrics.slot.set(self.number)

    async def hold(self) -> None:
        """Waits until the database confirms that the number is ours. Raises SlotLostError.

        Nobody connects to the broker before: once the database takes our connection for dead, another ingester may have
        the number.
        """
        waiting = False
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check()
                    self.away = None
                    return
            except (psycopg.Error, TimeoutError) as error:
                await self._disconnect()
                self.away = explain(error) if isinstance(error, psycopg.Error) else "no answer"
                if not waiting:
                    self._log.warning("waiting for the database", error=self.away)
                waiting = True
                await asyncio.sleep(1)

    async def keep(self, lag: Callable[[], float | None]) -> None:
        """Watches the number, and asks for it again after an outage; says with it how far behind we are.

        Raises SlotLostError when another was faster.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check()
                    await self._say(lag())
                self.away = None
            except (psycopg.Error, TimeoutError) as error:
                await self._disconnect()
                if self.away is None:
                    self.away = explain(error) if isinstance(error, psycopg.Error) else "no answer"
                    self._log.warning("the database does not confirm our consumer number", error=self.away)

    async def _check(self) -> None:
        async with self._checking:
            if await self._claimed(self.number) is None:
                raise SlotLostError(f"another process has consumer number {self.number} now")

    async def _say(self, lag: float | None) -> None:
        if self._connection is not None:
            await self._connection.execute(_SAY, (lag, self._group, self.number))

    async def release(self) -> None:
        """Frees the number."""
        metrics.slot.set(-1)
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _claimed(self, wanted: int | None) -> int | None:
        """The number that is ours now: the one wanted, or the lowest that is free."""
        if self._connection is None:
            self._connection = await connect(self._url, self._name)
        found = await (await self._connection.execute(_CLAIM, (self._group, wanted, SLOTS))).fetchone()
        return found[0] if found else None

    def _waiting(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.away = explain(error) if isinstance(error, psycopg.Error) else None
        if state.attempt_number == 1 and isinstance(error, psycopg.Error):
            self._log.warning("waiting for the database", error=explain(error))
