"""Writes batches: a connection, with deadlines and retries."""

import asyncio
from types import TracebackType
from typing import Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from ingestion.consume.batch import Batch
from ingestion.store.database import (
    BatchRefusedError,
    DatabaseAwayError,
    TooSlowError,
    connect,
    explain,
    is_of_the_data,
    is_rolled_back,
    outage,
)
from ingestion.store.tables import Written

WRITE_SECONDS = 60.0  # if a commit takes longer, the connection counts as dead
CHECK_SECONDS = 60.0  # how often to check that the table suits our strategy
ATTEMPTS = 3  # writes of a failing batch before it is bisected: a deadlock with another ingester passes

_STATE = """
SELECT indisunique, coalesce(current_setting('timescaledb.restoring', true) = 'on', false)
FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass
"""
# What an INSERT needs first: the lock, and the right.
_TOUCH = "INSERT INTO metrics (time, topic, quality) SELECT now(), '', 0 WHERE false"


class InsertStrategy(Protocol):
    """How a batch is written to the table, and whether that needs a unique index."""

    @property
    def unique(self) -> bool: ...

    def reconnected(self) -> None: ...

    async def store(self, connection: AsyncConnection, batch: Batch, /) -> Written: ...


class Writer:
    """One connection to the database, opened when needed, and reopened after errors."""

    def __init__(self, url: str, strategy: InsertStrategy) -> None:
        self._url = url
        self._strategy = strategy
        self._connection: AsyncConnection | None = None
        self._clock = asyncio.get_running_loop().time
        self._checked = float("-inf")

    async def write(self, batch: Batch, attempts: int = ATTEMPTS) -> Written:
        """Writes all in one transaction, committed when this returns; an empty batch asks whether the table takes rows.

        Raises DatabaseAwayError, or BatchRefusedError after so many attempts, both with nothing written.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    return await self._store_plain(await self._connected(), batch)
            except TimeoutError:
                await self.close()
                raise TooSlowError(f"no answer within {WRITE_SECONDS:g} s") from None
            except psycopg.Error as error:
                if attempt < attempts and is_rolled_back(error):
                    continue
                await self._recover(of_data=is_of_the_data(error))
                if away := outage(error):
                    raise away from error
                if attempt == attempts:
                    raise BatchRefusedError(explain(error), of_data=is_of_the_data(error)) from error
            except (DatabaseAwayError, asyncio.CancelledError):
                await self.close()
                raise
            except Exception as error:  # anything else that a batch can cause, such as a text that cannot be encoded
                await self._recover(of_data=True)
                if attempt == attempts:
                    raise BatchRefusedError(f"{type(error).__name__}: {error}", of_data=True) from error
        raise AssertionError

    async def _store_plain(self, connection: AsyncConnection, batch: Batch) -> Written:
        if batch.points or batch.deliveries:
            return await self._strategy.store(connection, batch)
        await connection.execute(_TOUCH)
        return Written(0, 0, 0)

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _recover(self, *, of_data: bool) -> None:
        """After an error: keeps the connection only if the data caused it, and everything is rolled back."""
        connection = self._connection
        idle = connection is not None and connection.info.transaction_status == TransactionStatus.IDLE
        if not (of_data and idle):
            await self.close()

    async def __aenter__(self) -> "Writer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._url)
            self._strategy.reconnected()
            self._checked = float("-inf")
        if self._clock() - self._checked > CHECK_SECONDS:
            await self._check(self._connection)
            self._checked = self._clock()
        return self._connection

    async def _check(self, connection: AsyncConnection) -> None:
        """Raises DatabaseAwayError where rows would be lost, or stored twice."""
        unique, restoring = await (await connection.execute(_STATE)).fetchone() or (self._strategy.unique, False)
        if restoring:  # a connection opened during a restore never sees hypertables
            raise DatabaseAwayError("the database is being restored")
        if unique != self._strategy.unique:
            raise DatabaseAwayError("NEXUS_INGEST_MODE differs from the one that `nexus db migrate` was run with")
