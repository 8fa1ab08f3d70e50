"""Salvages a damaged spool: puts it aside, and copies all but the damaged pages into a new one."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from gateway import metrics
from gateway.delivery.batch import is_message
from nexus.process import log

_DEEPEST = 14  # halvings of a range of numbers that cannot be read
_ROWS_AT_ONCE = 1000  # in one transaction
_MARGIN = 8_000_000  # bytes that a copy leaves free on the disk, and that its log takes
_SELECT = "SELECT topic, payload, readings, id, CAST(time AS INTEGER) FROM message WHERE id BETWEEN ? AND ? ORDER BY id"
_UNREADABLE = (sqlite3.Error, TypeError, ValueError, OverflowError)

_Row = tuple[str, bytes, int, int, int]

_failed: set[Path] = set()  # damaged files that this process could not read or rename: logged, and not tried again


def text(raw: bytes) -> str | bytes:
    """Decodes UTF-8; bytes that are not valid stay bytes."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def move_aside(file: Path, reason: str) -> None:
    """Renames a damaged file, so that a new one can be made, which later receives what can still be read."""
    aside = file.with_name(f"{file.name}.unsaved-{time.time_ns() // 1000}")
    file.rename(aside)
    _rename_log(file, aside)
    log.get("spool").error("the spool is damaged: moved aside", file=str(aside), reason=reason)


def unsaved(file: Path) -> list[Path]:
    """Damaged files that are not, or not completely, copied yet; oldest first."""
    found = (path for path in file.parent.glob(f"{file.name}.unsaved-*") if path.name.rpartition("-")[2].isdecimal())
    return sorted(path for path in found if not path.is_symlink() and path.is_file())


def finish_move(file: Path) -> None:
    """Completes `move_aside`, where a process ended between the file and its log."""
    if not file.exists() and (waiting := unsaved(file)):
        _rename_log(file, waiting[-1])


def save(file: Path, database: sqlite3.Connection, largest: int, known: int) -> None:
    """Copies what can be read of the damaged files into the new one, with numbers up to `largest`.

    The rest is counted as lost: out of `known` readings, if the file does not say how many it holds. If this is
    interrupted, it starts again at the next opening: a file counts as copied when it has its final name. Only the last
    copied file stays, for a person to look at. A file waits if the disk has no room for a copy, or if it cannot be read
    or renamed. Raises sqlite3.Error when the new file cannot be written.
    """
    for aside in unsaved(file):
        if aside in _failed:
            continue
        try:
            _save(file, aside, database, largest, known)
        except OSError as error:
            _failed.add(aside)
            said = "a damaged spool cannot be saved: let the gateway's user read and rename it, then restart"
            log.get("spool").error(said, file=str(aside), reason=str(error))


def _save(file: Path, aside: Path, database: sqlite3.Connection, largest: int, known: int) -> None:
    """Raises OSError for the damaged file, and sqlite3.Error for the new one."""
    if (missing := _missing_bytes(aside)) > 0:
        said = "no room to save a damaged spool: free disk space, then restart"
        log.get("spool").error(said, file=str(aside), missing_bytes=missing)
        _take_name(aside, database)
        return
    readings = _readings(aside) or known or 1
    saved = _copy(aside, database, largest)
    for old in file.parent.glob(f"{file.name}.damaged-*"):
        with suppress(OSError):
            old.unlink()
    done = file.with_name(aside.name.replace(".unsaved-", ".damaged-"))
    aside.rename(done)
    _rename_log(aside, done)
    lost = max(0, readings - saved)
    metrics.dropped.labels("damaged").inc(lost)
    said = "saved the readable part of a damaged spool"
    log.get("spool").error(said, file=str(done), readings_saved=saved, readings_lost=lost)


def _rename_log(old: Path, new: Path) -> None:
    with suppress(FileNotFoundError):
        old.with_name(f"{old.name}-wal").rename(new.with_name(f"{new.name}-wal"))
    old.with_name(f"{old.name}-shm").unlink(missing_ok=True)


def _missing_bytes(aside: Path) -> int:
    """How many bytes the disk lacks for a copy."""
    parts = (aside, aside.with_name(f"{aside.name}-wal"))
    disk = os.statvfs(aside.parent)
    return sum(part.stat().st_size for part in parts if part.exists()) + _MARGIN - disk.f_bavail * disk.f_frsize


def _connected(damaged: Path) -> sqlite3.Connection:
    """Raises OSError when the file cannot be opened, so that its errors are not taken for the new file's."""
    try:
        old = sqlite3.connect(damaged)
    except sqlite3.Error as error:
        raise OSError(str(error)) from None
    old.text_factory = text
    return old


def _readings(damaged: Path) -> int:
    """How many a damaged file says it holds; 0 where it does not say."""
    try:
        with closing(_connected(damaged)) as old:
            [found] = old.execute("SELECT readings FROM total").fetchone()
        return max(0, int(found))
    except _UNREADABLE:
        return 0


def _take_name(damaged: Path, new: sqlite3.Connection) -> None:
    """The new file has the name and what else is known of the old one."""
    with closing(_connected(damaged)) as old:
        name, offered = _about(old)
    with new:
        new.execute("INSERT INTO owner (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM owner)", (name,))
        new.execute("UPDATE total SET offered = max(offered, ?)", (offered,))


def _copy(damaged: Path, new: sqlite3.Connection, largest: int) -> int:
    """Copies the messages, and whose they are; tells of how many readings. What is there already stays."""
    readings = 0
    _take_name(damaged, new)
    with closing(_connected(damaged)) as old:
        rows = _readable(old, 1, largest, 0)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            _insert(new, some)
            readings += sum(row[2] for row in some)
    return readings


def _about(old: sqlite3.Connection) -> tuple[str, bool]:
    name, offered = "", False
    with suppress(*_UNREADABLE):
        name = str(old.execute("SELECT id FROM owner").fetchone()[0])
    with suppress(*_UNREADABLE):
        offered = bool(old.execute("SELECT offered FROM total").fetchone()[0])
    return name, offered


def _insert(new: sqlite3.Connection, rows: list[_Row]) -> None:
    with new:
        new.executemany(
            "INSERT OR IGNORE INTO message (topic, payload, readings, id, time) VALUES (?, ?, ?, ?, ?)", rows
        )
        # -1 cannot be a total, so the next opening counts the rows, even if this copy is never finished.
        new.execute("UPDATE total SET messages = -1, clock = max(clock, ?)", (max(row[4] for row in rows),))


def _readable(old: sqlite3.Connection, first: int, last: int, depth: int) -> Iterator[_Row]:
    """From both ends up to what cannot be read; then the same with both halves of what is between."""
    upto, down = first - 1, last + 1
    try:
        for row in old.execute(_SELECT, (first, last)):
            upto = row[3]
            if is_message(*row[:4]) and isinstance(row[4], int):
                yield row
        return
    except sqlite3.Error as error:
        if not _is_page(error):
            return
    try:
        for row in old.execute(f"{_SELECT} DESC", (upto + 1, last)):
            down = row[3]
            if is_message(*row[:4]) and isinstance(row[4], int):
                yield row
        return
    except sqlite3.Error:
        pass
    if depth < _DEEPEST and down - upto > 2:
        middle = (upto + down) // 2
        yield from _readable(old, upto + 1, middle, depth + 1)
        yield from _readable(old, middle + 1, down - 1, depth + 1)


def _is_page(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
