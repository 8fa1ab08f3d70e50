"""Batches into the table: COPY, and what to do when the database refuses. The only file that writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import AsyncConnection

from ingestion.batch import Reject
from ingestion.rows import COLUMNS, Row, copy_data, in_order

WRITE_SECONDS = 60.0  # a commit that takes longer is taken for a dead connection

# SQLSTATE classes that speak of the data: data exception, integrity violation, program limit (a key too long).
_DATA_CLASSES = ("22", "23", "54")
_LARGEST_REJECT = 1_000_000

_COPY = f"COPY metrics ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_STAGE = "CREATE TEMP TABLE IF NOT EXISTS arriving (LIKE metrics INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
_COPY_STAGED = f"COPY arriving ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_MERGE = f"INSERT INTO metrics ({COLUMNS}) SELECT {COLUMNS} FROM arriving ON CONFLICT DO NOTHING"  # noqa: S608
_REJECT = "INSERT INTO rejects (topic, payload, reason) VALUES (%s, %s, %s)"


class DatabaseAway(Exception):  # noqa: N818  a state of the world, not a mistake
    """Not now, but perhaps later. The text says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch's rows."""

    rows: int
    duplicates: int
    rejects: int


class Writer:
    """One connection to the database, made when needed and made anew after trouble."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None

    async def write(self, rows: list[Row], rejects: Sequence[Reject]) -> Written:
        """Writes all in one transaction, committed when this returns. Raises DatabaseAway with nothing written."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                connection = await self._connected()
                async with connection.transaction():
                    return await self._write(connection, in_order(rows), list(rejects))
        except TimeoutError:
            await self.close()
            raise DatabaseAway(f"no answer within {WRITE_SECONDS:g} s") from None
        except psycopg.Error as error:
            await self.close()
            raise DatabaseAway(explain(error)) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """Lets go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> "Writer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._url)
        return self._connection

    async def _write(self, connection: AsyncConnection, rows: list[Row], rejects: list[Reject]) -> Written:
        duplicates, refused = await self._store(connection, rows)
        rejects += refused
        if rejects:
            async with connection.cursor() as cursor:
                await cursor.executemany(_REJECT, [_storable(reject) for reject in rejects])
        return Written(len(rows) - duplicates - len(refused), duplicates, len(rejects))

    async def _store(self, connection: AsyncConnection, rows: list[Row]) -> tuple[int, list[Reject]]:
        """How many rows were there already, and which ones the database refuses: found by halving."""
        if not rows:
            return 0, []
        try:
            return await self._copy(connection, rows), []
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_CLASSES:
                raise
            if len(rows) == 1:
                return 0, [_refused(rows[0], explain(error))]
        middle = len(rows) // 2
        before, refused_before = await self._store(connection, rows[:middle])
        after, refused_after = await self._store(connection, rows[middle:])
        return before + after, refused_before + refused_after

    async def _copy(self, connection: AsyncConnection, rows: list[Row]) -> int:
        """Writes the rows; gives how many were there already. A plain COPY, unless a row is a repetition."""
        data = copy_data(rows)
        try:
            async with connection.transaction(), connection.cursor() as cursor:
                async with cursor.copy(_COPY) as copy:
                    await copy.write(data)
                return 0
        except psycopg.errors.UniqueViolation:
            pass
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(_STAGE)
            async with cursor.copy(_COPY_STAGED) as copy:
                await copy.write(data)
            await cursor.execute(_MERGE)
            merged = cursor.rowcount
            await cursor.execute("TRUNCATE arriving")
            return len(rows) - merged


async def connect(url: str) -> AsyncConnection:
    """A connection that notices a dead network within half a minute. Raises psycopg.OperationalError."""
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name="nexus ingest",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=25_000,
    )


def explain(error: psycopg.Error) -> str:
    """The database's own words, and the remedy where it is known."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.errors.UndefinedTable):
        return f"{text}: run `nexus db migrate`"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{text}: grant this user the role nexus_writer"
    return text


def _refused(row: Row, reason: str) -> Reject:
    return Reject(row[0], repr(row).encode("utf-8", "backslashreplace"), f"the database refused it: {reason}")


def _storable(reject: Reject) -> tuple[str, bytes, str]:
    topic, reason = (text.replace("\0", "�") for text in (reject.topic, reject.reason))
    return topic, reject.payload[:_LARGEST_REJECT], reason
