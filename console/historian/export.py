"""Readings as the database writes them: passed on from COPY as they come, however many there are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection, generators, sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from console.database import Database
from console.turns import asker

AT_ONCE = 2
LEAST_RATE = 100_000  # bytes a second that a reader takes, once it has been waited for …
PACE_SECONDS = 60.0  # … so long
BLOCK_BYTES = 262_144
LONGEST_SECONDS = 3600.0  # of a whole export, as any reader's query has
_PATIENCE = f"SET LOCAL statement_timeout = {LONGEST_SECONDS * 1000:.0f}"

HEADER = b"time,topic,value,quality,unit\n"

# A COPY takes no parameters, so that its query has everything in it, quoted by psycopg. Texts that a spreadsheet would
# take for a formula get an apostrophe, which keeps them texts; their first letters are compared, because a regular
# expression for each unit took a sixth of the whole time.
_FOR_PEOPLE = sql.SQL("""
COPY (
    SELECT (time AT TIME ZONE 'UTC')::text || 'Z',
           {shown},
           CASE WHEN value_str IS NULL THEN value::text
                WHEN value IS NOT NULL OR ascii(value_str) <> ALL ({formula}) THEN value_str
                ELSE '''' || value_str END,
           CASE WHEN quality >= 192 THEN 'good' WHEN quality >= 64 THEN 'uncertain' ELSE 'bad' END,
           CASE WHEN ascii(unit) = ANY ({formula}) THEN '''' || unit ELSE unit END
    FROM metrics
    WHERE topic = {topic} AND time >= {start} AND time < {end}
    ORDER BY time
) TO STDOUT (FORMAT csv)
""")
_FOR_PROGRAMS = sql.SQL("""
COPY (
    SELECT (time AT TIME ZONE 'UTC')::text || 'Z',
           topic,
           value,
           value_str,
           CASE WHEN quality >= 192 THEN 'good' WHEN quality >= 64 THEN 'uncertain' ELSE 'bad' END,
           unit
    FROM metrics
    WHERE topic = {topic} AND time >= {start} AND time < {end}
    ORDER BY time
) TO STDOUT (FORMAT csv)
""")
_FORMULA = ("-", "=", "+", "@", "\t", "\r")


@dataclass(frozen=True)
class Range:
    """Whose readings from when to when."""

    topics: Sequence[str]
    start: datetime
    end: datetime


class BusyError(Exception):
    """As many exports as there may be are under way."""


class OwnExportError(Exception):
    """One of the same person is under way."""


class Pace:
    """Whether a reader keeps up: an export that waits holds a connection, a snapshot and locks. Pure."""

    def __init__(self) -> None:
        self._bytes = 0
        self._waited = 0.0

    def keeps_up(self, size: int, waited: float) -> bool:
        """Counts a block, and the seconds that it took to be taken; the time that the database takes is none of it."""
        self._bytes += size
        self._waited += waited
        return self._waited < PACE_SECONDS or self._bytes >= LEAST_RATE * self._waited


class Exports:
    """A few at a time: each has a connection for as long as its reader takes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._people: set[str] = set()  # who has one

    async def csv(self, wanted: Range) -> AsyncGenerator[bytes]:
        """With a header, for people. Raises BusyError, OwnExportError, psycopg.Error."""
        async with aclosing(self.rows(wanted, _FOR_PEOPLE)) as blocks:
            yield HEADER + await anext(blocks, b"")
            async for block in blocks:
                yield block

    async def rows(self, wanted: Range, query: sql.SQL = _FOR_PROGRAMS) -> AsyncGenerator[bytes]:
        """Whole lines of CSV, without a header, by topic and time. Raises BusyError, OwnExportError, psycopg.Error."""
        if (person := asker.get()) in self._people:
            raise OwnExportError
        if self._turns.locked():
            raise BusyError
        async with (
            self._turns,
            self._of(person),
            self._database.connection(LONGEST_SECONDS) as connection,
            connection.transaction(),
        ):
            await connection.execute(_PATIENCE)
            for topic in wanted.topics:
                async with aclosing(_copied(connection, _filled(query, topic, wanted))) as blocks:
                    async for block in blocks:
                        yield block

    @asynccontextmanager
    async def _of(self, person: str) -> AsyncIterator[None]:
        self._people.add(person)
        try:
            yield
        finally:
            self._people.discard(person)


async def _copied(connection: AsyncConnection, query: sql.Composed) -> AsyncGenerator[bytes]:
    """Many rows of a COPY at a time; psycopg's own iterator awaits each, which takes twice the time."""
    async with connection.cursor() as cursor, cursor.copy(query):
        is_over = False
        while not is_over:
            rows, is_over = await connection.wait(_rows(connection.pgconn))
            if rows:
                yield b"".join(rows)
                await asyncio.sleep(0)  # while the database is faster than we are, nothing else waits


def _rows(connection: PGconn) -> PQGen[tuple[list[memoryview], bool]]:
    """A block of rows, and whether that is all. Raises psycopg.Error."""
    rows: list[memoryview] = []
    size, is_dry = 0, False
    while size < BLOCK_BYTES:
        length, row = connection.get_copy_data(1)
        if length > 0:
            rows.append(row)
            size += length
            is_dry = False
        elif length == 0:
            # More has often come meanwhile: waiting for each 16 kB took a quarter of the time.
            while is_dry and not (yield Wait.R):
                continue
            connection.consume_input()
            is_dry = True
        else:
            for result in (yield from generators.fetch_many(connection)):
                if result.status != ExecStatus.COMMAND_OK:
                    raise error_from_result(result, encoding="utf-8")
            return rows, True
    return rows, False


def defused(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _filled(query: sql.SQL, topic: str, wanted: Range) -> sql.Composed:
    return query.format(
        shown=sql.Literal(defused(topic)),
        formula=sql.Literal([ord(sign) for sign in _FORMULA]),
        topic=sql.Literal(topic),
        start=sql.Literal(wanted.start),
        end=sql.Literal(wanted.end),
    )
