"""A spool's SQLite file: created, upgraded, and put aside when damaged."""

import os
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.delivery import salvage
from gateway.delivery.batch import READINGS_A_MESSAGE, ROW_BYTES

# Numbers are never used twice: what the process before may have used and not stored is left out. And as far fewer than
# a million are used in a second, those from the wall clock on, in microseconds, are beyond all that went before, also
# beyond those that were given after this file was copied.
RESERVED = 1_000_000
_DAY = 86_400_000_000  # microseconds; numbers further ahead come from a clock that was wrong
_LATEST = 2**52  # microseconds: the year 2112; a clock that is later is wrong
_USED_UP = 2**53 - 2**50
_LOCK_SECONDS = 1.0  # to wait for a lock on the file, by a backup for instance; a stop has little time

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, readings INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS owner (id TEXT NOT NULL, next INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS total (
    messages INTEGER NOT NULL, readings INTEGER NOT NULL, size INTEGER NOT NULL,
    clock INTEGER NOT NULL, offered INTEGER NOT NULL
);
"""
_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
# A disk that is full, slow, locked or gone for now; at opening, everything else says that the file is no spool.
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
}


@dataclass
class Contents:
    """What is in the spool; `oldest` by its clock in ms, None when it is empty; the first and last of its numbers."""

    messages: int = 0
    readings: int = 0
    size: int = 0
    oldest: int | None = None
    first: int = 0
    last: int = 0


@dataclass
class Owner:
    """The publisher that owns the file: its name, a secret of 128 bits, and the first unused number.

    `clock` is for how many ms the file was in use before now; `offered`, whether receipts were ever offered; `saw`, the
    latest wall clock time that was stored in the file, in microseconds.
    """

    id: str
    next: int
    clock: int = 0
    offered: bool = False
    saw: int = 0


def wall_clock() -> int:
    """Microseconds since 1970; 0 where the clock cannot be right."""
    now = time.time_ns() // 1000
    return now if 0 < now < _LATEST else 0


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged, rather than the disk unavailable."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_no_spool(error: Exception) -> bool:
    if not isinstance(error, sqlite3.Error):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _PASSING


def opened(file: Path, owner: Owner | None, readings: int = 0) -> tuple[sqlite3.Connection, Owner, Contents]:
    """Opens the file's database; puts a damaged file aside, and creates a new one, for the same `owner` if known.

    `readings` is how many it held, if known. Raises sqlite3.Error when the disk does not allow it for now.
    """
    salvage.finish_move(file)
    try:
        return _connected(file, owner, readings)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if not _is_no_spool(error):
            raise
        salvage.move_aside(file, str(error))
        return _connected(file, owner, readings)


def _connected(file: Path, owner: Owner | None, readings: int) -> tuple[sqlite3.Connection, Owner, Contents]:
    file.touch(0o600)
    file.chmod(0o600)  # made by an older version
    database = sqlite3.connect(file, timeout=_LOCK_SECONDS, check_same_thread=False)
    try:
        database.text_factory = salvage.text
        database.executescript(_SCHEMA)
        _bring_up_to_date(database)
        salvage.save(file, database, _USED_UP - READINGS_A_MESSAGE, readings)
        with database:
            contents, clock, offered = _totals(database)
            mine = _owner(database, contents, owner)
        mine.clock, mine.offered = clock, offered or mine.offered
    except BaseException:
        database.close()
        raise
    return database, mine, contents


def _bring_up_to_date(database: sqlite3.Connection) -> None:
    """Upgrades a file of an older version, which numbered messages, and stored the readings' own times."""
    with database:
        if "next" not in {column for _, column, *_ in database.execute("PRAGMA table_info(owner)")}:
            database.execute("ALTER TABLE owner ADD COLUMN next INTEGER NOT NULL DEFAULT 1")
            database.execute(
                "UPDATE message SET id = readings - 1 - total FROM"
                " (SELECT id AS old, sum(readings) OVER (ORDER BY id) AS total FROM message) WHERE id = old"
            )
            database.execute("UPDATE message SET id = -id")
        if database.execute("SELECT 1 FROM total").fetchone() is None:
            database.execute("UPDATE message SET time = 0")
            database.execute("INSERT INTO total SELECT *, 0, 0 FROM (SELECT count(*), 0, 0 FROM message)")
            count(database)


def limit_log(database: sqlite3.Connection, size: int) -> None:
    """Bounds the log beside the file, in bytes."""
    _one(database, f"PRAGMA wal_autocheckpoint = {max(1, size // _one(database, 'PRAGMA page_size'))}")
    _one(database, f"PRAGMA journal_size_limit = {size}")


def used_bytes(database: sqlite3.Connection) -> int:
    """How much of the file is in use; free pages are used again."""
    pages = _one(database, "PRAGMA page_count") - _one(database, "PRAGMA freelist_count")
    return pages * _one(database, "PRAGMA page_size")


def free_bytes(database: sqlite3.Connection, file: Path) -> int:
    """How much is free on the disk, and within the file."""
    disk = os.statvfs(file.parent)
    return disk.f_bavail * disk.f_frsize + _one(database, "PRAGMA freelist_count") * _one(database, "PRAGMA page_size")


def _one(database: sqlite3.Connection, asked: str) -> int:
    return int(database.execute(asked).fetchone()[0])


def count(database: sqlite3.Connection) -> None:
    """Reads the whole table, which takes its time: once, after an older version or a totals row that cannot be."""
    database.execute(
        "UPDATE total SET (messages, readings, size) = (SELECT count(*), coalesce(sum(readings), 0),"
        " coalesce(sum(length(topic) + length(payload) + ?), 0) FROM message)",
        (ROW_BYTES,),
    )


def _totals(database: sqlite3.Connection) -> tuple[Contents, int, bool]:
    first = database.execute("SELECT id, time FROM message ORDER BY id LIMIT 1").fetchone()
    last = database.execute("SELECT id + readings - 1 FROM message ORDER BY id DESC LIMIT 1").fetchone()
    asked = "SELECT messages, readings, size, clock, offered FROM total"
    messages, readings, size, clock, offered = map(int, database.execute(asked).fetchone())
    if min(messages, readings, size, clock) < 0 or (messages == 0) != (first is None):
        count(database)
        messages, readings, size, *_ = map(int, database.execute(asked).fetchone())
    contents = Contents(messages, readings, size, first and int(first[1]), int(first[0]) if first else 0)
    contents.last = int(last[0]) if last else 0
    return contents, max(clock, 0), bool(offered)


def _owner(database: sqlite3.Connection, contents: Contents, known: Owner | None) -> Owner:
    found = database.execute("SELECT id, next FROM owner").fetchone()
    name, following = (str(found[0]), int(found[1])) if found else ("", 1)
    if known is not None:  # the file was replaced while in use
        name, following = known.id, max(following, known.next)
    now, saw = wall_clock(), following
    was_ahead = now and following > now + _DAY and not contents.messages and known is None
    if was_ahead or not _NAME.fullmatch(name):  # or a new file, or an older version's, whose name can be guessed
        name, following = secrets.token_hex(16), 1 if was_ahead else following
    following = max(following, contents.last + 1, now, 1)
    if following > _USED_UP:  # or no number of ours
        raise ValueError("its numbers are used up")
    database.execute("DELETE FROM owner")
    database.execute("INSERT INTO owner (id, next) VALUES (?, ?)", (name, following + RESERVED))
    return Owner(name, following, offered=known.offered if known else False, saw=saw)
