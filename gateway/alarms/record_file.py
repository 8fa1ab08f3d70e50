"""The alarms on disk, an SQLite file: the last message of each alarm, and the events not yet in the spool."""

import sqlite3
import time
from pathlib import Path

import msgspec

from nexus.process import log

_LOCK_SECONDS = 1.0
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS word (topic TEXT PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS device (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_OURS = "typeof(topic) = 'text' AND typeof(payload) = 'blob'"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # the last: other tables than ours


class Contents(msgspec.Struct):
    """Messages by topic; events with their numbers; the paths of devices that were polled with this file."""

    messages: dict[str, bytes] = {}
    events: list[tuple[int, str, bytes]] = []
    devices: set[str] = set()


class Update(msgspec.Struct):
    """What to write in one transaction. A message that is None is deleted; `done` are numbers of events."""

    messages: dict[str, bytes | None] = {}
    events: list[tuple[int, str, bytes]] = []
    done: list[int] = []
    devices: dict[str, bool] = {}  # whether they are kept

    def __bool__(self) -> bool:
        return bool(self.messages or self.events or self.done or self.devices)

    def add(self, later: "Update", most: int) -> None:
        """Takes in a later one; of the events the last `most`. What is done already is not written at all."""
        self.messages |= later.messages
        done = {*self.done, *later.done}
        events = self.events + later.events
        self.events = [event for event in events if event[0] not in done][-most:]
        self.done = sorted(done.difference(number for number, *_ in events))[-most:]
        self.devices |= later.devices


def opened(file: Path) -> sqlite3.Connection:
    """The file's database; a damaged one is put aside for a new one. Raises sqlite3.Error, and OSError."""
    try:
        return _connected(file)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            raise
        aside = file.with_name(f"{file.name}.damaged-{time.time_ns()}")
        file.rename(aside)
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
        said = "the alarms' record is damaged: what the broker retains is taken in its place"
        log.get("alarms").error(said, file=str(aside), reason=str(error))
        return _connected(file)


def _connected(file: Path) -> sqlite3.Connection:
    file.touch(0o600)
    database = sqlite3.connect(file, timeout=_LOCK_SECONDS, check_same_thread=False)
    try:
        database.executescript(_SCHEMA)
        contents(database)
    except BaseException:
        database.close()
        raise
    return database


def contents(database: sqlite3.Connection) -> Contents:
    """All that is in it, except what this gateway cannot have written. Raises sqlite3.Error."""
    messages = database.execute(f"SELECT topic, payload FROM word WHERE {_OURS}")  # noqa: S608  our own text
    events = database.execute(f"SELECT id, topic, payload FROM event WHERE {_OURS} ORDER BY id")  # noqa: S608
    devices = database.execute("SELECT path FROM device WHERE typeof(path) = 'text'")
    return Contents(dict(messages), events.fetchall(), {path for (path,) in devices})


def write(database: sqlite3.Connection, update: Update) -> None:
    """Writes it durably, all or nothing. Raises sqlite3.Error."""
    said = [(topic, payload) for topic, payload in update.messages.items() if payload is not None]
    gone = [(topic,) for topic, payload in update.messages.items() if payload is None]
    with database:
        database.executemany("INSERT OR REPLACE INTO word VALUES (?, ?)", said)
        database.executemany("DELETE FROM word WHERE topic = ?", gone)
        database.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?)", update.events)
        database.executemany("DELETE FROM event WHERE id = ?", [(number,) for number in update.done])
        for path, kept in update.devices.items():
            asked = "INSERT OR IGNORE INTO device VALUES (?)" if kept else "DELETE FROM device WHERE path = ?"
            database.execute(asked, (path,))
