"""Batches into the table: COPY, and what to do when the database refuses. The only file that writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from ingestion.batch import Reject
from ingestion.rows import COLUMNS, Rows, copy_data, parsed
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading

WRITE_SECONDS = 60.0  # a commit that takes longer is taken for a dead connection
HORIZON_SECONDS = 60.0  # how often to ask what is compressed
ATTEMPTS = 3  # of a transaction that the database gave up for another's sake

# SQLSTATE classes that speak of the data: data exception, integrity violation, program limit (a key too long).
_DATA_CLASSES = ("22", "23", "54")
_ROLLED_BACK = "40"  # a deadlock, or a conflict of serialisation
_LARGEST_REJECT = 1_000_000
_MOST_TOPICS = 500_000  # that are known to be in the list

_COPY = f"COPY {{}} ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_STAGE = "CREATE TEMP TABLE IF NOT EXISTS arriving (LIKE metrics INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
_MERGE = f"INSERT INTO metrics ({COLUMNS}) SELECT {COLUMNS} FROM arriving ON CONFLICT DO NOTHING"  # noqa: S608
_REJECT = "INSERT INTO rejects (topic, payload, reason, source) VALUES (%s, %s, %s, %s)"
_TOPICS = "INSERT INTO topics (topic) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
_HORIZON = "SELECT coalesce(extract(epoch FROM late_before()) * 1000, 0)::bigint"


class DatabaseAway(Exception):  # noqa: N818  a state of the world, not a mistake
    """Not now, but perhaps later. The text says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch's rows."""

    rows: int
    duplicates: int
    rejects: int


class Writer:
    """One connection to the database, made when needed and made anew after trouble.

    Rows from before `horizon_ms` (epoch ms) belong to compressed chunks: they go to a table of their own, from where
    the database brings them home.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None
        self._clock = asyncio.get_running_loop().time
        self._asked = float("-inf")
        self._repeating = False  # the last batch held repetitions; the next one may too
        self._topics: set[str] = set()
        self.horizon_ms = 0

    async def write(self, rows: Rows, late: Rows, rejects: Sequence[Reject]) -> Written:
        """Writes all in one transaction, committed when this returns. Raises DatabaseAway with nothing written."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    return await self._written(await self._connected(), rows, late, list(rejects))
            except TimeoutError:
                await self.close()
                raise DatabaseAway(f"no answer within {WRITE_SECONDS:g} s") from None
            except psycopg.Error as error:
                if attempt < ATTEMPTS and (error.sqlstate or "")[:2] == _ROLLED_BACK:
                    continue
                await self.close()
                raise DatabaseAway(explain(error)) from error
            except asyncio.CancelledError:
                await self.close()
                raise
        raise AssertionError

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
            self._topics.clear()  # it may be another database's
            self._asked = float("-inf")
        if self._clock() - self._asked > HORIZON_SECONDS:
            found = await (await self._connection.execute(_HORIZON)).fetchone()
            self.horizon_ms = found[0] if found else 0
            self._asked = self._clock()
        return self._connection

    async def _written(self, connection: AsyncConnection, rows: Rows, late: Rows, rejects: list[Reject]) -> Written:
        """The fast way if it can be: a COPY that meets no repetition and nothing that the database refuses."""
        ordered, ordered_late = rows.in_order(), late.in_order()
        if not self._repeating:
            try:
                async with connection.transaction():
                    await _copy(connection, "metrics", ordered)
                    await _copy(connection, "metrics_late", ordered_late)
                    new = await self._complete(connection, rows, late, rejects)
                self._topics |= new
                return Written(rows.count + late.count, 0, len(rejects))
            except psycopg.Error as error:
                if (error.sqlstate or "")[:2] not in _DATA_CLASSES:
                    raise
        async with connection.transaction():
            duplicates, refused = await self._store(connection, "metrics", ordered)
            _, refused_late = await self._store(connection, "metrics_late", ordered_late)
            rejects += refused + refused_late
            gone = {reject.topic for reject in refused + refused_late}
            new = await self._complete(connection, rows, late, rejects, gone)
        self._topics |= new
        self._repeating = duplicates > 0
        stored = rows.count + late.count - len(refused) - len(refused_late)
        return Written(stored - duplicates, duplicates, len(rejects))

    async def _complete(
        self,
        connection: AsyncConnection,
        rows: Rows,
        late: Rows,
        rejects: list[Reject],
        gone: frozenset[str] | set[str] = frozenset(),
    ) -> set[str]:
        """Rejects, and the topics that were not in the list; gives those."""
        if rejects:
            async with connection.cursor() as cursor:
                await cursor.executemany(_REJECT, [_storable(reject) for reject in rejects])
        if len(self._topics) > _MOST_TOPICS:
            self._topics.clear()
        new = (rows.by_topic.keys() | late.by_topic.keys()) - self._topics - gone
        if new:
            await connection.execute(_TOPICS, (sorted(new),))  # in order, so that two writers cannot block each other
        return new

    async def _store(self, connection: AsyncConnection, table: str, rows: list[bytes]) -> tuple[int, list[Reject]]:
        """How many rows were there already, and which ones the database refuses: found by halving."""
        if not rows:
            return 0, []
        try:
            async with connection.transaction():
                if table == "metrics":
                    return await _merge(connection, rows), []
                await _copy(connection, table, rows)
                return 0, []
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _DATA_CLASSES:
                raise
            if len(rows) == 1:
                return 0, [_refused(rows[0], explain(error))]
        middle = len(rows) // 2
        before, refused_before = await self._store(connection, table, rows[:middle])
        after, refused_after = await self._store(connection, table, rows[middle:])
        return before + after, refused_before + refused_after


async def _copy(connection: AsyncConnection, table: str, rows: list[bytes]) -> None:
    if rows:
        async with connection.cursor() as cursor, cursor.copy(_COPY.format(table)) as copy:
            await copy.write(copy_data(rows))


async def _merge(connection: AsyncConnection, rows: list[bytes]) -> int:
    """Stores the rows that are not there yet; gives how many were."""
    await connection.execute(_STAGE)
    await _copy(connection, "arriving", rows)
    merged = await connection.execute(_MERGE)
    await connection.execute("TRUNCATE arriving")
    return len(rows) - merged.rowcount


# The server too has to notice within half a minute that we are gone, or our locks would stay.
_SERVER_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in (
        ("tcp_keepalives_idle", 10),
        ("tcp_keepalives_interval", 5),
        ("tcp_keepalives_count", 3),
        ("tcp_user_timeout", 25_000),
        ("idle_in_transaction_session_timeout", 60_000),
    )
)


async def connect(url: str) -> AsyncConnection:
    """A connection that notices a dead network within half a minute, on either side.

    Raises psycopg.OperationalError.
    """
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name="nexus ingest",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=25_000,
        options=f"{conninfo_to_dict(url).get('options', '')} {_SERVER_OPTIONS}",
    )


def explain(error: psycopg.Error) -> str:
    """The database's own words, and the remedy where it is known."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
        return f"{text}: run `nexus db migrate`"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{text}: grant this user the role nexus_writer"
    return text


def _refused(row: bytes, reason: str) -> Reject:
    found = parsed(row)
    value = found.value if found.value_str is None else found.value_str
    payload = encode_tag(Reading("", found.time, value, found.quality), found.unit)
    return Reject(found.topic, payload, f"the database refused it: {reason}")


def _storable(reject: Reject) -> tuple[str, bytes, str, str | None]:
    topic, reason = (text.replace("\0", "�") for text in (reject.topic, reject.reason))
    source = reject.source if reject.source != reject.topic and "\0" not in (reject.source or "") else None
    return topic, reject.payload[:_LARGEST_REJECT], reason, source
