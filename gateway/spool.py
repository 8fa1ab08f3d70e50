"""What is not yet known to have arrived, on disk: messages in the order of their numbers, bounded in bytes and age."""

import asyncio
import re
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

READINGS_A_MESSAGE = 2000  # about 100 KB; brokers refuse packets beyond a limit, by default 1 MB
ROW_BYTES = 40  # what a row costs beside its topic and payload, about
_EVICTED_AT_ONCE = 200

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 4194304;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, readings INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS owner (id TEXT NOT NULL, next INTEGER NOT NULL DEFAULT 1);
"""
# Numbers are never used twice, so a start takes them from beyond all that the process before can have used.
_RESERVED = 1_000_000_000

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)

T = TypeVar("T")


class SpoolError(Exception):
    """The disk does not take it, for now. The text says why."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message, with a number for each of its readings from `id` on; `time` of its making in epoch ms."""

    topic: str
    payload: bytes
    readings: int
    time: int
    id: int

    @property
    def last(self) -> int:
        return self.id + self.readings - 1

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + ROW_BYTES


@dataclass
class Contents:
    """What is in the spool; `oldest` in epoch ms, None when it is empty; the first and last of its numbers."""

    messages: int
    readings: int
    size: int
    oldest: int | None
    first: int
    last: int


class Spool:
    """One gateway's file. All its work is done in one thread, in the order of the calls.

    When `max_bytes` are reached, or an entry is older than `max_age` seconds, the oldest go; each call says how many
    readings were lost by that.
    """

    def __init__(self, file: Path, max_bytes: int, max_age: float) -> None:
        self._file = file
        self.number = int(file.stem.removeprefix("spool-"))  # of its folder: 0 for the first
        self.max_bytes = max_bytes
        self._max_age = max_age
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._database = _opened(file)
        self.contents = self._measured()
        self.id, self.next = _owner(self._database, self.contents.last)  # an id of its own, the same at each start
        self._reserved = self.next + _RESERVED

    async def write(self, entries: Sequence[Entry], finished: Iterable[tuple[int, int]] = ()) -> int:
        """Stores entries and forgets the ones whose numbers all lie in a finished range, durably, both or none.

        Gives the readings that had to go for lack of room. Raises SpoolError.
        """
        return await self._do(lambda: self._write(entries, list(finished)))

    async def between(self, first: int, last: int, limit: int) -> list[Entry]:
        """The first entries that have a number in the range. Raises SpoolError."""
        return await self._do(lambda: self._between(first, last, limit))

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

    def _write(self, entries: Sequence[Entry], finished: list[tuple[int, int]]) -> int:
        contents = self.contents
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO message (time, readings, topic, payload, id) VALUES (?, ?, ?, ?, ?)",
                [(entry.time, entry.readings, entry.topic, entry.payload, entry.id) for entry in entries],
            )
            gone = [found for first, last in finished for found in self._delete(first, last)]
            self._reserve(max((entry.last for entry in entries), default=0))
        contents.messages += len(entries) - len(gone)
        contents.readings += sum(entry.readings for entry in entries) - sum(readings for readings, _ in gone)
        contents.size += sum(entry.size for entry in entries) - sum(size for _, size in gone)
        contents.last = max(contents.last, *(entry.last for entry in entries)) if entries else contents.last
        contents.first, contents.oldest = self._first()
        lost = 0
        while self.contents.size > self.max_bytes and self.contents.messages > 1:
            lost += self._evict("SELECT id FROM message ORDER BY id LIMIT ?", _EVICTED_AT_ONCE)
        return lost

    def _delete(self, first: int, last: int) -> list[tuple[int, int]]:
        return self._database.execute(
            "DELETE FROM message WHERE id BETWEEN ? AND ? AND id + readings - 1 <= ?"
            " RETURNING readings, length(topic) + length(payload) + ?",
            (first, last, last, ROW_BYTES),
        ).fetchall()

    def _reserve(self, used: int) -> None:
        if used > self._reserved - _RESERVED // 2:
            self._reserved = used + _RESERVED
            self._database.execute("UPDATE owner SET next = ?", (self._reserved,))

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

    def _between(self, first: int, last: int, limit: int) -> list[Entry]:
        found = self._database.execute(
            "SELECT topic, payload, readings, time, id FROM message"
            " WHERE id BETWEEN ? AND ? AND id + readings > ? ORDER BY id LIMIT ?",
            (first - READINGS_A_MESSAGE, last, first, limit),
        )
        return [Entry(*row) for row in found]

    def _first(self) -> tuple[int, int | None]:
        found = self._database.execute("SELECT id, time FROM message ORDER BY id LIMIT 1").fetchone()
        return found if found else (0, None)

    def _measured(self) -> Contents:
        messages, readings, size, last = self._database.execute(
            "SELECT count(*), coalesce(sum(readings), 0), coalesce(sum(length(topic) + length(payload) + ?), 0),"
            " coalesce(max(id + readings - 1), 0) FROM message",
            (ROW_BYTES,),
        ).fetchone()
        first, oldest = self._first()
        return Contents(messages, readings, size, oldest, first, last)


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
        if "next" not in {column for _, column, *_ in database.execute("PRAGMA table_info(owner)")}:
            _renumber(database)
    except BaseException:
        database.close()
        raise
    return database


def _renumber(database: sqlite3.Connection) -> None:
    """An older version gave a number a message; now each reading has one."""
    with database:
        database.execute("ALTER TABLE owner ADD COLUMN next INTEGER NOT NULL DEFAULT 1")
        database.execute(
            "UPDATE message SET id = readings - 1 - total FROM"
            " (SELECT id AS old, sum(readings) OVER (ORDER BY id) AS total FROM message) WHERE id = old"
        )
        database.execute("UPDATE message SET id = -id")


def _owner(database: sqlite3.Connection, last: int) -> tuple[str, int]:
    """The publisher's name, a secret of 128 bits, and the first number that nothing had before."""
    with database:
        if (found := database.execute("SELECT id, next FROM owner").fetchone()) is None:
            found = (secrets.token_hex(16), 1)
            database.execute("INSERT INTO owner (id, next) VALUES (?, ?)", found)
        elif not _NAME.fullmatch(str(found[0])):  # an older version's, short enough to be guessed
            found = (secrets.token_hex(16), found[1])
            database.execute("UPDATE owner SET id = ?", (found[0],))
        following = max(found[1], last + 1)
        database.execute("UPDATE owner SET next = ?", (following + _RESERVED,))
    return str(found[0]), following
