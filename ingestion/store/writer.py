"""Batches into the table: a connection, its deadlines and its second attempts."""

import asyncio
from time import time
from types import TracebackType
from typing import Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from ingestion.consume.batch import Batch
from ingestion.decode.rows import LATEST_AHEAD_MS
from ingestion.store.database import (
    BatchRefused,
    DatabaseAway,
    TooSlow,
    connect,
    explain,
    is_of_the_data,
    is_outage,
    is_rolled_back,
)
from ingestion.store.tables import Written

WRITE_SECONDS = 60.0  # a commit that takes longer is taken for a dead connection
HORIZON_SECONDS = 60.0  # how often to ask what is late
CLOCKS_APART_SECONDS = LATEST_AHEAD_MS / 2000  # beyond, good readings would be refused for their time
ATTEMPTS = 3  # of a transaction that the database gave up for another's sake

_HORIZON = """
SELECT coalesce(extract(epoch FROM late_before()) * 1000, 0)::bigint,
       coalesce(extract(epoch FROM kept_from()) * 1000, 0)::bigint,
       extract(epoch FROM clock_timestamp())::float8
"""
_UNIQUE = "SELECT indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass"


class Way(Protocol):
    """A way into the table, and whether it needs the index to be unique."""

    @property
    def unique(self) -> bool: ...

    def reconnected(self) -> None: ...

    async def store(self, connection: AsyncConnection, batch: Batch, /) -> Written: ...


class Writer:
    """One connection to the database, made when needed and made anew after trouble.

    Rows from before `horizon_ms` (epoch ms) are late: they go to a table of their own, from where the database brings
    them home. Rows from before `kept_ms` are older than what the database keeps. Both are known once something was
    written, if only an empty batch.
    """

    def __init__(self, url: str, way: Way) -> None:
        self._url = url
        self._way = way
        self._connection: AsyncConnection | None = None
        self._clock = asyncio.get_running_loop().time
        self._asked = float("-inf")
        self.horizon_ms = self.kept_ms = 0
        self.knows_horizon = False

    async def write(self, batch: Batch, attempts: int = ATTEMPTS) -> Written:
        """Writes all in one transaction, committed when this returns.

        Raises DatabaseAway, or BatchRefused after so many attempts, both with nothing written.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    return await self._way.store(await self._connected(), batch)
            except TimeoutError:
                await self.close()
                raise TooSlow(f"no answer within {WRITE_SECONDS:g} s") from None
            except psycopg.Error as error:
                rolled_back = is_rolled_back(error)
                if attempt < attempts and rolled_back:
                    continue
                await self._recover(of_data=is_of_the_data(error))
                if rolled_back or is_outage(error):
                    raise DatabaseAway(explain(error)) from error
                if attempt == attempts:
                    raise BatchRefused(explain(error), of_data=is_of_the_data(error)) from error
            except (DatabaseAway, asyncio.CancelledError):
                await self.close()
                raise
            except Exception as error:  # whatever else a batch can make fail, such as a text without an encoding
                await self._recover(of_data=True)
                if attempt == attempts:
                    raise BatchRefused(f"{type(error).__name__}: {error}", of_data=True) from error
        raise AssertionError

    async def close(self) -> None:
        """Lets go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _recover(self, *, of_data: bool) -> None:
        """After an error: keeps the connection only if that was the data's, and all is rolled back."""
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
            self._way.reconnected()
            self._asked = float("-inf")
        if self._clock() - self._asked > HORIZON_SECONDS:
            found = await (await self._connection.execute(_HORIZON)).fetchone()
            self.horizon_ms, self.kept_ms, clock = found or (0, 0, time())
            if abs(time() - clock) > CLOCKS_APART_SECONDS:
                raise DatabaseAway(_apart(time() - clock))
            self.knows_horizon = True
            unique = await (await self._connection.execute(_UNIQUE)).fetchone()
            if unique is not None and unique[0] != self._way.unique:
                raise DatabaseAway("NEXUS_INGEST_MODE is not the one that `nexus db migrate` was run with")
            self._asked = self._clock()
        return self._connection


def _apart(ahead: float) -> str:
    which = "ahead of" if ahead > 0 else "behind"
    return f"the clock of this host is {abs(ahead) / 60:,.0f} minutes {which} the database's: set the one that is wrong"
