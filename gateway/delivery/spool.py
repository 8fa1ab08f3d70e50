"""Messages not yet known to have arrived, on disk, ordered by number, bounded in bytes and age."""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gateway import metrics
from gateway.delivery import salvage, spool_file
from gateway.delivery.batch import READINGS_A_MESSAGE, ROW_BYTES, Batch, chunks, is_message
from gateway.delivery.drops import Drops
from gateway.delivery.spool_file import RESERVED, Contents, Owner
from gateway.delivery.spool_thread import SpoolThread
from nexus.process import log

ANSWER_SECONDS = 10.0  # a disk that takes longer for a single job counts as hung
CLOSE_SECONDS = 0.5  # at a stop; what is on disk is consistent anyway
_EVICTED_AT_ONCE = 200
_LARGEST_CHUNK = 4_000_000  # bytes in one transaction, and in the log beside the file

_COST = f"CAST(readings AS INTEGER), length(topic) + length(payload) + {ROW_BYTES}"  # whatever type the columns hold

# Single readings that are not larger than so many bytes, and all messages of several.
_FITS = " AND (? IS NULL OR readings > 1 OR length(CAST(topic AS BLOB)) + length(payload) <= ?)"

_OLDEST = f"SELECT id, {_COST}, CAST(time AS INTEGER), topic, payload FROM message ORDER BY id LIMIT ?"  # noqa: S608

T = TypeVar("T")


class SpoolError(Exception):
    """The disk cannot be used for now. The text says why."""


class Spool:
    """One gateway's file. All work is done in one thread, in the order of the calls; the first one opens the file.

    The oldest batches are dropped, and then counted, when the file would grow beyond `max_bytes` (its log included), or
    when they have been kept for `max_age` seconds while the gateway ran. Neither a changed clock nor a device's
    timestamps cause a drop.
    """

    def __init__(self, file: Path, max_bytes: int, max_age: float) -> None:
        self._file = file
        self.number = int(file.stem.removeprefix("spool-"))  # in its folder: 0 for the first
        self.max_bytes = max_bytes
        self.max_age = max_age
        self._chunk = min(_LARGEST_CHUNK, max_bytes // 10)
        self._room = max_bytes - 3 * self._chunk  # for the file itself
        self._thread = SpoolThread()
        self._database: sqlite3.Connection | None = None
        self._owner: Owner | None = None
        self._since = time.monotonic()
        self._reserved = 0
        self._log = log.get("spool")
        self.contents = Contents()
        self.drops = Drops()
        self.unsaved: list[Path] = []  # damaged files that are not copied yet
        self._closed = False

    @property
    def owner(self) -> Owner | None:
        """The spool's owner; None until it is open."""
        return self._owner

    @property
    def clock(self) -> int:
        """For how many ms the spool has been in use."""
        assert self._owner is not None
        return self._owner.clock + int((time.monotonic() - self._since) * 1000)

    async def open(self) -> None:
        """Opens the file, if it is not open. Raises SpoolError."""
        await self._do(lambda _: None)

    async def write(self, batches: Sequence[Batch], finished: Iterable[tuple[int, int]] = ()) -> None:
        """Stores batches and deletes those whose numbers all lie in a finished range, durably.

        Drops the oldest to make room. Raises SpoolError; batches that are written again are stored once.
        """
        ranges = list(finished)
        await self._do(lambda database: self._write(database, batches, ranges))

    async def between(
        self, first: int, last: int, limit: int, blocked: Collection[str] = (), largest: int | None = None
    ) -> list[Batch]:
        """The first batches with a number in the range, except those of `blocked` topics.

        Single readings whose topic and payload have more than `largest` bytes are left out too. Raises SpoolError.
        """
        but = " AND topic NOT IN (SELECT value FROM json_each(?))" if blocked else ""
        asked = (
            "SELECT topic, payload, readings, id FROM message"  # noqa: S608  our own texts
            f" WHERE id BETWEEN ? AND ? AND id + readings > ?{_FITS}{but} ORDER BY id LIMIT ?"
        )
        topics = [json.dumps(list(blocked))] if blocked else []
        keys = (first - READINGS_A_MESSAGE, last, first, largest, largest, *topics, limit)
        return await self._do(lambda database: self._batches(database, database.execute(asked, keys).fetchall()))

    async def first_of(self, topic: str, largest: int | None = None) -> Batch | None:
        """The oldest batch of a topic, but no single reading of more than `largest` bytes. Raises SpoolError."""
        asked = f"SELECT topic, payload, readings, id FROM message WHERE topic = ?{_FITS} ORDER BY id LIMIT 1"  # noqa: S608
        keys = (topic, largest, largest)
        found = await self._do(lambda database: self._batches(database, database.execute(asked, keys).fetchall()))
        return found[0] if found else None

    async def divide(self, batch: Batch, parts: Sequence[Batch]) -> None:
        """Puts parts with the same numbers in a batch's place, or nothing; it may be gone. Raises SpoolError."""
        await self._do(lambda database: self._divide(database, batch, parts))

    async def expire(self) -> None:
        """Forgets what is too old. Raises SpoolError."""
        await self._do(self._expire)

    async def room(self) -> int:
        """Bytes left for messages, within the bound and on the disk. Raises SpoolError."""
        return await self._do(self._left)

    async def remember_offer(self) -> None:
        """Notes for the next start that receipts were offered. Raises SpoolError."""

        def remember(database: sqlite3.Connection) -> None:
            with database:
                database.execute("UPDATE total SET offered = 1")
            assert self._owner is not None
            self._owner.offered = True

        await self._do(remember)

    def close(self) -> None:
        """Closes the file; what is in it stays. A disk that hangs is not waited for."""
        self._closed = True
        if not self._thread.end(self._close, CLOSE_SECONDS):
            self._log.error("the disk does not answer: the spool is not closed", file=str(self._file))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise SpoolError(f"{self._file} is closed")
        try:
            return await self._thread.do(lambda: self._with_database(work), ANSWER_SECONDS)
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"{self._file}: {error}") from error

    # Everything below runs in the spool's thread.

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _with_database(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            self._open()
            assert self._database is not None
        try:
            return work(self._database)
        except sqlite3.Error as error:
            if spool_file.is_damage(error):  # found while working: later jobs get a new file
                self._database.close()
                self._database = None
                salvage.move_aside(self._file, str(error))
            raise

    def _open(self) -> None:
        if self._owner is not None:
            self._owner.next, self._owner.clock, self._since = self._reserved, self.clock, time.monotonic()
        self._database, self._owner, self.contents = spool_file.opened(self._file, self._owner, self.contents.readings)
        self.unsaved = salvage.unsaved(self._file)
        self._since = time.monotonic()
        self._reserved = self._owner.next + RESERVED
        spool_file.limit_log(self._database, self._chunk)

    def _write(self, database: sqlite3.Connection, batches: Sequence[Batch], finished: list[tuple[int, int]]) -> None:
        if finished:
            with database:
                gone = [found for first, last in finished for found in _delete(database, first, last)]
                self._book(database, -len(gone), -sum(row[0] for row in gone), -sum(row[1] for row in gone))
        for chunk in chunks(batches, self._chunk):
            size = sum(batch.size for batch in chunk)
            while self.contents.messages and spool_file.used_bytes(database) + size + size // 4 > self._room:
                self._evict(database, size + size // 2)
            self._insert(database, chunk, size)

    def _insert(self, database: sqlite3.Connection, batches: list[Batch], size: int) -> None:
        now, last = self.clock, max(batch.last for batch in batches)
        with database:
            replaced = (
                [row for batch in batches for row in _delete(database, batch.first, batch.last)]
                if (batches[0].first <= self.contents.last)
                else []
            )  # already written, by a call that failed later
            database.executemany(
                "INSERT OR REPLACE INTO message (id, time, readings, topic, payload) VALUES (?, ?, ?, ?, ?)",
                [(batch.first, now, batch.count, batch.topic, batch.payload) for batch in batches],
            )
            if last > self._reserved - RESERVED // 2:
                self._reserved = last + RESERVED
                database.execute("UPDATE owner SET next = ?", (self._reserved,))
            self._book(
                database,
                len(batches) - len(replaced),
                sum(batch.count for batch in batches) - sum(row[0] for row in replaced),
                size - sum(row[1] for row in replaced),
            )
        self.contents.last = max(self.contents.last, last)

    def _book(self, database: sqlite3.Connection, messages: int, readings: int, size: int) -> None:
        """Keeps the totals, on disk too, so that nobody has to count. Part of a transaction."""
        contents = self.contents
        found = database.execute("SELECT id, CAST(time AS INTEGER) FROM message ORDER BY id LIMIT 1").fetchone()
        new = Contents(
            contents.messages + messages, contents.readings + readings, contents.size + size, last=contents.last
        )
        if found:
            new.first, new.oldest = found
        database.execute(
            "UPDATE total SET messages = ?, readings = ?, size = ?, clock = ?",
            (new.messages, new.readings, new.size, self.clock),
        )
        database.commit()
        self.contents = new

    def _left(self, database: sqlite3.Connection) -> int:
        return max(0, min(self.max_bytes - self.contents.size, spool_file.free_bytes(database, self._file)))

    def _evict(self, database: sqlite3.Connection, size: int) -> None:
        """Drops the oldest, of about so many bytes."""
        rows: list[Any] = []
        for row in database.execute(_OLDEST, (_EVICTED_AT_ONCE,)):
            rows.append(row)
            size -= row[2]
            if size <= 0:
                break
        self._drop(database, rows, "bytes")

    def _expire(self, database: sqlite3.Connection) -> None:
        before = self.clock - int(self.max_age * 1000)
        while self.contents.oldest is not None and self.contents.oldest < before:
            self._evict_before(database, before)

    def _evict_before(self, database: sqlite3.Connection, before: int) -> None:
        rows = database.execute(_OLDEST, (_EVICTED_AT_ONCE,)).fetchall()
        self._drop(database, [row for row in rows if row[3] < before], "age")

    def _drop(self, database: sqlite3.Connection, rows: list[Any], reason: str) -> None:
        """Deletes rows of _OLDEST; they are counted when they are gone, whatever becomes of what takes their place."""
        with database:
            database.executemany("DELETE FROM message WHERE id = ?", [(row[0],) for row in rows])
            self._book(database, -len(rows), -sum(row[1] for row in rows), -sum(row[2] for row in rows))
        for number, readings, _, _, topic, payload in rows:
            if is_message(topic, payload, readings, number):
                self.drops.add(reason, Batch(topic, payload, readings, number))
            else:
                metrics.dropped.labels(reason).inc(readings)

    def _divide(self, database: sqlite3.Connection, batch: Batch, parts: Sequence[Batch]) -> None:
        asked = "DELETE FROM message WHERE id = ? AND readings = ? RETURNING time"
        with database:
            if (kept := database.execute(asked, (batch.first, batch.count)).fetchone()) is None:
                return
            database.executemany(
                "INSERT INTO message (id, time, readings, topic, payload) VALUES (?, ?, ?, ?, ?)",
                [(part.first, kept[0], part.count, part.topic, part.payload) for part in parts],
            )
            readings = sum(part.count for part in parts) - batch.count
            self._book(database, len(parts) - 1, readings, sum(part.size for part in parts) - batch.size)

    def _batches(self, database: sqlite3.Connection, rows: list[Any]) -> list[Batch]:
        """Rows as batches. Rows that cannot be ours are deleted, as they would block the replay for ever."""
        batches = [Batch(row[0], row[1], row[2], row[3], kept=True) for row in rows if is_message(*row)]
        if len(batches) < len(rows):
            wrong = [row for row in rows if not is_message(*row)]
            with database:
                database.executemany("DELETE FROM message WHERE id = ?", [(row[3],) for row in wrong])
                spool_file.count(database)
                database.commit()
                self.contents.messages, self.contents.readings, self.contents.size = database.execute(
                    "SELECT messages, readings, size FROM total"
                ).fetchone()
            metrics.dropped.labels("damaged").inc(len(wrong))  # how many readings they held is unknown
            self._log.error("messages in the spool are damaged, and dropped", file=str(self._file), messages=len(wrong))
        return batches


def _delete(database: sqlite3.Connection, first: int, last: int) -> list[tuple[int, int]]:
    return database.execute(
        f"DELETE FROM message WHERE id BETWEEN ? AND ? AND id + readings - 1 <= ? RETURNING {_COST}",  # noqa: S608
        (first, last, last),
    ).fetchall()
