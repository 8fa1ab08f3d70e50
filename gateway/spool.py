"""What the broker has not got, on disk: messages in the order of their making, bounded in bytes and age."""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from nexus.runtime import log
from nexus.runtime.errors import ConfigError

ROW_BYTES = 40  # what a row costs beside its topic and payload, about
_EVICTED_AT_ONCE = 200

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 4194304;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, readings INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS owner (id TEXT NOT NULL);
"""

T = TypeVar("T")


class SpoolError(Exception):
    """The disk does not take it, for now. The text says why."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message; `time` of its making in epoch ms, `id` rises (0 until it is stored)."""

    topic: str
    payload: bytes
    readings: int
    time: int
    id: int = 0

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + ROW_BYTES


@dataclass
class Contents:
    """What is in the spool; `oldest` in epoch ms, None when it is empty."""

    messages: int = 0
    readings: int = 0
    size: int = 0
    oldest: int | None = None


class Spool:
    """One gateway's file. All its work is done in one thread, in the order of the calls.

    When `max_bytes` are reached, or an entry is older than `max_age` seconds, the oldest go; each call says how many
    readings were lost by that.
    """

    def __init__(self, file: Path, max_bytes: int, max_age: float) -> None:
        self._file = file
        self.max_bytes = max_bytes
        self._max_age = max_age
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._database = _opened(file)
        self.contents = self._measured()
        self.id = _id(self._database)  # the same at each start, and nobody else's

    async def append(self, entries: Sequence[Entry]) -> int:
        """Stores entries, durably; gives the readings that had to go for them. Raises SpoolError, storing none."""
        return await self._do(lambda: self._append(entries))

    async def oldest(self, after: int, limit: int) -> list[Entry]:
        """The first entries beyond the id `after`. Raises SpoolError."""
        return await self._do(lambda: self._oldest(after, limit))

    async def remove(self, entries: Iterable[Entry]) -> None:
        """Forgets entries. Raises SpoolError: they are still there then."""
        await self._do(lambda: self._remove(list(entries)))

    async def expire(self) -> int:
        """Forgets what is too old; gives the readings lost by that. Raises SpoolError."""
        return await self._do(self._expire)

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        self._thread.shutdown()
        self._database.close()

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise SpoolError(f"{self._file}: {error}") from error

    # What follows runs in the spool's thread.

    def _append(self, entries: Sequence[Entry]) -> int:
        with self._database:
            self._database.executemany(
                "INSERT INTO message (time, readings, topic, payload) VALUES (?, ?, ?, ?)",
                [(entry.time, entry.readings, entry.topic, entry.payload) for entry in entries],
            )
        contents = self.contents
        contents.messages += len(entries)
        contents.readings += sum(entry.readings for entry in entries)
        contents.size += sum(entry.size for entry in entries)
        if entries and contents.oldest is None:
            contents.oldest = entries[0].time
        lost = 0
        while self.contents.size > self.max_bytes and self.contents.messages > 1:
            lost += self._evict("SELECT id FROM message ORDER BY id LIMIT ?", _EVICTED_AT_ONCE)
        return lost

    def _expire(self) -> int:
        before = int((time.time() - self._max_age) * 1000)
        if self.contents.oldest is None or self.contents.oldest >= before:
            return 0
        return self._evict("SELECT id FROM message WHERE time < ?", before)

    def _evict(self, which: str, argument: int) -> int:
        with self._database:
            gone = self._database.execute(
                f"DELETE FROM message WHERE id IN ({which}) RETURNING readings",  # noqa: S608  one of the two above
                (argument,),
            ).fetchall()
        self.contents = self._measured()
        return sum(readings for (readings,) in gone)

    def _oldest(self, after: int, limit: int) -> list[Entry]:
        found = self._database.execute(
            "SELECT topic, payload, readings, time, id FROM message WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [Entry(*row) for row in found]

    def _remove(self, entries: list[Entry]) -> None:
        with self._database:
            self._database.executemany("DELETE FROM message WHERE id = ?", [(entry.id,) for entry in entries])
        contents = self.contents
        contents.messages -= len(entries)
        contents.readings -= sum(entry.readings for entry in entries)
        contents.size -= sum(entry.size for entry in entries)
        first = self._database.execute("SELECT time FROM message ORDER BY id LIMIT 1").fetchone()
        contents.oldest = first[0] if first else None

    def _measured(self) -> Contents:
        messages, readings, size = self._database.execute(
            "SELECT count(*), coalesce(sum(readings), 0), coalesce(sum(length(topic) + length(payload) + ?), 0)"
            " FROM message",
            (ROW_BYTES,),
        ).fetchone()
        first = self._database.execute("SELECT time FROM message ORDER BY id LIMIT 1").fetchone()
        return Contents(messages, readings, size, first[0] if first else None)


def _opened(file: Path) -> sqlite3.Connection:
    try:
        return connected(file)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise ConfigError(f"NEXUS_SPOOL_DIR: {file}: {error}") from None
        aside = file.with_name(f"{file.name}.damaged-{int(time.time())}")
        file.rename(aside)
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
        log.get("spool").error("the spool was damaged, and is put aside", file=str(aside), reason=str(error))
        return connected(file)


def connected(file: Path) -> sqlite3.Connection:
    """A spool's database, made if it is not there."""
    database = sqlite3.connect(file, check_same_thread=False)
    try:
        database.executescript(_SCHEMA)
        database.execute("SELECT count(*) FROM message").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def _id(database: sqlite3.Connection) -> str:
    with database:
        if (found := database.execute("SELECT id FROM owner").fetchone()) is None:
            found = (secrets.token_hex(4),)
            database.execute("INSERT INTO owner VALUES (?)", found)
    return str(found[0])
