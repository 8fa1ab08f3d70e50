"""The session in which the one sender writes: it holds the lock, so whoever has lost the lock writes nothing more."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.database import NETWORK, patience

WANTED = "7 days"  # so long events are queued while no console sends
_CONNECT_SECONDS = 3
_QUERY_SECONDS = 10.0
# The server takes the session for dead when its peer has vanished, or says nothing: a sender that hangs is replaced.
_SESSION = (
    "-c statement_timeout=10s -c lock_timeout=5s -c idle_session_timeout=10s"
    " -c idle_in_transaction_session_timeout=10s -c tcp_keepalives_idle=3 -c tcp_keepalives_interval=2"
    " -c tcp_keepalives_count=2 -c tcp_user_timeout=8000 -c default_transaction_read_only=off"
)
_RENEW = """
INSERT INTO notification_sender (wanted_until, name, since) VALUES (now() + %(wanted)s::interval, %(name)s, now())
ON CONFLICT (only_row) DO UPDATE SET wanted_until = excluded.wanted_until, name = excluded.name,
    since = CASE WHEN notification_sender.name = excluded.name THEN notification_sender.since ELSE excluded.since END
"""


class Ledger:
    """A session of the database; its transactions take turns."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of at most some seconds. Raises psycopg.Error."""
        async with self._turn:
            with patience(self._connection, _QUERY_SECONDS + 2):
                async with self._connection.transaction():
                    yield self._connection

    async def lead(self) -> bool:
        """Whether this session is the one that sends. Raises psycopg.Error."""
        async with self.transaction() as connection:
            row = await (await connection.execute("SELECT lead_notifications()")).fetchone()
        return row == (True,)

    async def renew(self) -> None:
        """Has events queued for us. Raises psycopg.Error."""
        async with self.transaction() as connection:
            await connection.execute(_RENEW, {"wanted": WANTED, "name": socket.gethostname()})


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Ledger]:
    """A session of its own. Raises psycopg.Error."""
    given = conninfo_to_dict(url)
    known = {
        **NETWORK,
        **given,
        "application_name": "nexus console notifications",
        "connect_timeout": _CONNECT_SECONDS,
        "client_encoding": "utf8",
        "options": f"{given.get('options') or ''} {_SESSION}".strip(),
    }
    connection = await AsyncConnection.connect(make_conninfo("", **known), autocommit=True, prepare_threshold=None)
    try:
        yield Ledger(connection)
    finally:
        with patience(connection, 1.0):
            await connection.close()
