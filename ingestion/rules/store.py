"""The rules' side of the database: one connection, which holds the group's lock and writes all that they change."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection

from ingestion.rules import metrics
from ingestion.rules.engine import Said, Update
from ingestion.rules.evaluation import RuleState, decode_state
from ingestion.store.database import DatabaseAwayError, connect, explain, is_of_the_data
from nexus.contract import alarm, codec
from nexus.contract.alarm import AlarmMessage
from nexus.contract.codec import DecodeError
from nexus.process import log

TRY_SECONDS = 1.0  # who waits for the lock asks so often
CHECK_SECONDS = 2.0
WRITE_SECONDS = 30.0  # what takes longer is taken for a dead connection
# The server ends what a process that hangs holds, and so its lock: a session that says nothing, or a statement.
SILENT_SECONDS = 20.0
STATEMENT_SECONDS = 25.0

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('nexus rules ' || %s, 0))"
_LIMITS = """
SELECT set_config('idle_session_timeout', %(silent)s, false),
    set_config('idle_in_transaction_session_timeout', %(silent)s, false),
    set_config('statement_timeout', %(statement)s, false)
"""
_PUBLISHER = """
INSERT INTO rule_publishers (rule_group, publisher, last) VALUES (%s, %s, 0)
ON CONFLICT (rule_group) DO UPDATE SET publisher = rule_publishers.publisher RETURNING publisher, last, offered
"""
_OFFERED = "UPDATE rule_publishers SET offered = true WHERE rule_group = %s"
_LAST = "UPDATE rule_publishers SET last = %s WHERE rule_group = %s"
_STATES = """
INSERT INTO rule_states SELECT %s, * FROM unnest(%s::text[], %s::bytea[])
ON CONFLICT (rule_group, path) DO UPDATE SET state = excluded.state
"""
_ALARMS = """
INSERT INTO rule_alarms SELECT %s, * FROM unnest(%s::text[], %s::bytea[])
ON CONFLICT (rule_group, topic) DO UPDATE SET payload = excluded.payload
"""
_GONE = "DELETE FROM rule_alarms WHERE rule_group = %s AND topic = ANY (%s)"
_OUTBOX = "INSERT INTO rule_outbox SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bool[])"
_DONE = "DELETE FROM rule_outbox WHERE rule_group = %s AND number = ANY (%s)"


class Row(msgspec.Struct, frozen=True, gc=False):
    """A message of the outbox, as it is published; without a payload it clears its topic, and has no receipt."""

    number: int
    topic: str
    payload: bytes
    retain: bool


class Contents(msgspec.Struct):
    """What the database has of a group; `offered` is whether receipts were ever offered to it."""

    publisher: str
    last: int
    offered: bool
    states: dict[str, RuleState]
    alarms: list[AlarmMessage]
    outbox: list[Row]


class Store:
    """Ours alone while the connection lives: another's commit is then impossible, because it has no lock."""

    def __init__(self, connection: AsyncConnection, group: str) -> None:
        self._connection, self._group = connection, group
        self._writing = asyncio.Lock()
        self._publisher, self._last = "", 0
        self._heard = float("-inf")  # when the database answered last
        self._log = log.get("rules")

    async def load(self) -> Contents:
        """All that there is. Raises DatabaseAwayError."""
        async with self._answered():
            [(self._publisher, self._last, offered)] = await self._fetch(_PUBLISHER, self._group, secrets.token_hex(16))
            states = await self._fetch("SELECT path, state FROM rule_states WHERE rule_group = %s", self._group)
            alarms = await self._fetch("SELECT topic, payload FROM rule_alarms WHERE rule_group = %s", self._group)
            outbox = await self._fetch(
                "SELECT number, topic, payload, retain FROM rule_outbox WHERE rule_group = %s ORDER BY number",
                self._group,
            )
        found = Contents(self._publisher, self._last, offered, {}, [], [Row(*one) for one in outbox])
        for path, state in states:
            with self._said_once():
                found.states[path] = decode_state(state)
        for name, payload in alarms:
            with self._said_once():
                found.alarms.append(alarm.decode(name, payload))
        return found

    async def commit(self, update: Update, done: Sequence[int]) -> list[Row]:
        """Writes all of it, and forgets what is `done` of the outbox; gives what is to be published now.

        Raises DatabaseAwayError; then it may or may not be written.
        """
        last = self._last
        rows = []
        for said in update.said:
            last += 1
            rows.append(_row(said, self._publisher, last))
        async with self._answered():
            try:
                async with self._connection.transaction():
                    await self._write(update, rows, done)
            except psycopg.Error as error:
                if not _is_of_the_data(error):
                    raise
                async with self._connection.transaction():
                    rows = await self._write_apart(update, rows, done)
        self._last = last
        return rows

    async def remember_offer(self) -> None:
        """Notes for whoever is active next that receipts were offered. Raises DatabaseAwayError."""
        async with self._answered():
            await self._connection.execute(_OFFERED, (self._group,))

    async def keep(self) -> None:
        """Watches the connection for ever. Raises DatabaseAwayError when it is lost, and the lock with it."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._ask()

    async def check(self) -> None:
        """Raises DatabaseAwayError if the connection is lost, and the lock with it; asks if that can be so."""
        if monotonic() - self._heard > SILENT_SECONDS / 2:
            await self._ask()

    async def _ask(self) -> None:
        async with self._answered():
            await self._connection.execute("SELECT 1")

    async def _write(self, update: Update, rows: Sequence[Row], done: Sequence[int]) -> None:
        group, execute = self._group, self._connection.execute
        if update.states:
            await execute(_STATES, (group, list(update.states), list(update.states.values())))
        if alarms := {name: payload for name, payload in update.alarms.items() if payload is not None}:
            await execute(_ALARMS, (group, list(alarms), list(alarms.values())))
        if gone := update.alarms.keys() - alarms.keys():
            await execute(_GONE, (group, list(gone)))
        if rows:
            columns = [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]
            await execute(_OUTBOX, (group, *columns))
            await execute(_LAST, (rows[-1].number, group))
        if done:
            await execute(_DONE, (group, list(done)))

    async def _write_apart(self, update: Update, rows: Sequence[Row], done: Sequence[int]) -> list[Row]:
        """All but what the database refuses, which it would refuse for ever; gives the rows that were written."""
        for path, state in update.states.items():
            await self._is_written(path, Update(states={path: state}))
        for name, payload in update.alarms.items():
            await self._is_written(name, Update(alarms={name: payload}))
        written = [row for row in rows if await self._is_written(row.topic, Update(), [row])]
        await self._write(Update(), (), done)
        return written

    async def _is_written(self, name: str, update: Update, rows: Sequence[Row] = ()) -> bool:
        try:
            async with self._connection.transaction():
                await self._write(update, rows, ())
        except psycopg.Error as error:
            if not _is_of_the_data(error):
                raise
            metrics.unwritable.inc()
            self._log.error("the database refuses this, and it is lost", of=name[:200], reason=explain(error))
            return False
        return True

    async def _fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(query.encode(), values)).fetchall()

    @asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """One at a time, and within a while."""
        async with self._writing, _answered():
            yield
            self._heard = monotonic()

    @contextmanager
    def _said_once(self) -> Iterator[None]:
        try:
            yield
        except DecodeError as error:
            self._log.error("what the database has of a rule cannot be read: it begins anew", reason=str(error))


@asynccontextmanager
async def opened(url: str, group: str, waiting: Callable[[], None]) -> AsyncIterator[Store]:
    """The store, once the lock is ours; `waiting` is called while another holds it. Raises DatabaseAwayError."""
    async with _answered():
        connection = await connect(url, f"nexus rules {group}"[:60])
    try:
        async with _answered():
            limits = {"silent": f"{SILENT_SECONDS:g}s", "statement": f"{STATEMENT_SECONDS:g}s"}
            await connection.execute(_LIMITS, limits)
        while not await _is_ours(connection, group):
            waiting()
            await asyncio.sleep(TRY_SECONDS)
        yield Store(connection, group)
    finally:
        await connection.close()


async def _is_ours(connection: AsyncConnection, group: str) -> bool:
    async with _answered():
        found = await (await connection.execute(_LOCK, (group,))).fetchone()
    return found == (True,)


@asynccontextmanager
async def _answered() -> AsyncIterator[None]:
    """Raises DatabaseAwayError for whatever the database says, and if it says nothing."""
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            yield
    except psycopg.Error as error:
        raise DatabaseAwayError(explain(error)) from error
    except TimeoutError:
        raise DatabaseAwayError(f"no answer within {WRITE_SECONDS:g} s") from None


def _is_of_the_data(error: psycopg.Error) -> bool:
    return isinstance(error, psycopg.DataError) or is_of_the_data(error)


def _row(said: Said, publisher: str, number: int) -> Row:
    payload = codec.numbered(said.payload, publisher, number, 1) if said.payload else b""
    return Row(number, said.topic, payload, said.retain)
