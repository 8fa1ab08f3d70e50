"""Connections to the database, as few as are allowed, each with a time by which a query ends."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from console.turns import Turns
from db.migrate import LICENSE, Tier, tier_of
from nexus.process.clock import now_ms

WAIT_SECONDS = 3.0  # for a free connection, or one to a database that is away
BRIEF_CONNECTIONS = 3  # of all; one of them may look at the whole plant
_CONNECT_SECONDS = 3
_LATE_SECONDS = 2.0  # that an answer may take after its query should have been cancelled: then the database hangs
NETWORK = {  # packets that vanish are noticed, unless the URL says otherwise
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


class BusyError(PoolTimeout):
    """All connections answer others: the database is there."""


class Database:
    """Two pools, for queries and for what takes milliseconds; what takes longer than `query_seconds` is cancelled.

    Logins, keys, audit rows and the look whether the database is there do not wait for queries, and one person has at
    most half of the connections for these. `reason` says why the database is away, as it was looked at last, and
    `away_since` when that began, in epoch ms.
    """

    def __init__(self, url: str, connections: int, query_seconds: float) -> None:
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it logs each try; the service what changes
        self._seconds = query_seconds
        self._most = max(1, connections - BRIEF_CONNECTIONS)
        self._pool = _pool(url, self._most, query_seconds)
        self._brief = _pool(url, BRIEF_CONNECTIONS, query_seconds)
        self._turns = Turns((self._most + 1) // 2, WAIT_SECONDS)
        self.reason: str | None = None
        self.away_since: int | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connects on demand while entered."""
        await self._pool.open()
        await self._brief.open()
        try:
            yield
        finally:
            await self._pool.close(timeout=1)
            await self._brief.close(timeout=1)

    @asynccontextmanager
    async def connection(self, seconds: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection for a query, that commits each statement; of `seconds` for one that sets its own patience.

        Raises TurnError while this person has too many queries under way, BusyError while others have, PoolTimeout and
        psycopg.OperationalError when the database is away or hangs.
        """
        async with self._turns.one():
            try:
                connection = await self._pool.getconn()
            except PoolTimeout as error:
                if self.reason is None and self.busy()[0] >= self._most:
                    raise BusyError(str(error)) from None
                raise
            try:
                with patience(connection, (seconds or self._seconds) + _LATE_SECONDS):
                    yield connection
            finally:
                await self._pool.putconn(connection)

    @asynccontextmanager
    async def brief(self) -> AsyncIterator[AsyncConnection]:
        """A connection for what takes milliseconds. Raises PoolTimeout and psycopg.OperationalError."""
        async with self._brief.connection() as connection:
            with patience(connection, self._seconds + _LATE_SECONDS):
                yield connection

    async def tier(self) -> Tier:
        """What the database can do. Raises as `brief` does."""
        async with self.brief() as connection:
            return tier_of(await (await connection.execute(LICENSE)).fetchone())

    def busy(self) -> tuple[int, int]:
        """Connections that answer somebody, and requests that wait for one."""
        state = self._pool.get_stats()
        return state["pool_size"] - state["pool_available"], state["requests_waiting"]

    async def look(self) -> str | None:
        """Why the database does not answer; None if it does."""
        try:
            async with self.brief() as connection:
                await connection.execute("SELECT 1")
        except Exception as error:
            self.reason = reason(error)
            self.away_since = self.away_since or now_ms()
        else:
            self.reason = self.away_since = None
        return self.reason


def reason(error: Exception) -> str:
    """In one line; PoolTimeout and some of psycopg's errors have no text."""
    return str(error).partition("\n")[0] or type(error).__name__


def _pool(url: str, connections: int, query_seconds: float) -> AsyncConnectionPool:
    given = conninfo_to_dict(url)
    ours = f"-c statement_timeout={round(query_seconds * 1000)} -c default_transaction_read_only=off"
    known = {
        **NETWORK,
        **given,
        "application_name": "nexus console",
        "connect_timeout": _CONNECT_SECONDS,
        "client_encoding": "utf8",  # else texts of a database in SQL_ASCII come as bytes
        "options": f"{given.get('options') or ''} {ours}".strip(),
    }
    return AsyncConnectionPool(
        make_conninfo("", **known),
        min_size=0,
        max_size=connections,
        timeout=WAIT_SECONDS,
        reconnect_timeout=WAIT_SECONDS,  # then the next request tries: back-offs would outlast the outage
        max_idle=60,
        kwargs={"autocommit": True, "prepare_threshold": None},  # each query is planned for its own range of time
        check=_check,
        open=False,
    )


async def _check(connection: AsyncConnection) -> None:
    with patience(connection, WAIT_SECONDS):
        await AsyncConnectionPool.check_connection(connection)


@contextmanager
def patience(connection: AsyncConnection, seconds: float) -> Iterator[None]:
    """Cuts the connection after so long: a database that hangs cancels no query, and psycopg would wait for that."""
    timer = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: AsyncConnection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
