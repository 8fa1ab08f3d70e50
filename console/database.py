"""Connections to the database, as few as are allowed, each with a time by which a query ends."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from db.migrate import LICENSE, Tier, tier_of

WAIT_SECONDS = 3.0  # for a free connection, or one to a database that is away
_CONNECT_SECONDS = 3


class Database:
    """A pool of connections, whose queries are cancelled after `query_seconds`."""

    def __init__(self, url: str, connections: int, query_seconds: float) -> None:
        given = conninfo_to_dict(url).get("options") or ""
        ours = f"-c statement_timeout={round(query_seconds * 1000)} -c default_transaction_read_only=off"
        info = make_conninfo(
            url,
            application_name="nexus console",
            connect_timeout=_CONNECT_SECONDS,
            client_encoding="utf8",  # else texts of a database in SQL_ASCII come as bytes
            options=f"{given} {ours}".strip(),
        )
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it logs each try; the service what changes
        self._pool = AsyncConnectionPool(
            info,
            min_size=0,
            max_size=connections,
            timeout=WAIT_SECONDS,
            reconnect_timeout=WAIT_SECONDS,  # then the next request tries: back-offs would outlast the outage
            max_idle=60,
            kwargs={"autocommit": True, "prepare_threshold": None},  # each query is planned for its own range of time
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connects on demand while entered."""
        await self._pool.open()
        try:
            yield
        finally:
            await self._pool.close(timeout=1)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection that commits each statement. Raises PoolTimeout and psycopg.OperationalError when it is away."""
        async with self._pool.connection() as connection:
            yield connection

    async def tier(self) -> Tier:
        """What the database can do. Raises as `connection` does."""
        async with self.connection() as connection:
            return tier_of(await (await connection.execute(LICENSE)).fetchone())

    def busy(self) -> tuple[int, int]:
        """Connections that answer somebody, and requests that wait for one."""
        state = self._pool.get_stats()
        return state["pool_size"] - state["pool_available"], state["requests_waiting"]

    async def away(self) -> str | None:
        """Why the database does not answer; None if it does."""
        try:
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except Exception as error:
            return reason(error)
        return None


def reason(error: Exception) -> str:
    """In one line; PoolTimeout and some of psycopg's errors have no text."""
    return str(error).partition("\n")[0] or type(error).__name__
