"""What can still be read of a damaged spool: copied into a new file, all but what lies on the damaged pages."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from gateway.delivery.entry import is_message

_DEEPEST = 14  # halvings of a range of numbers that cannot be read
_ROWS_AT_ONCE = 1000  # in one transaction
_SELECT = "SELECT topic, payload, readings, id, CAST(time AS INTEGER) FROM message WHERE id BETWEEN ? AND ? ORDER BY id"
_UNREADABLE = (sqlite3.Error, TypeError, ValueError, OverflowError)

_Row = tuple[str, bytes, int, int, int]


def text(raw: bytes) -> str | bytes:
    """What is no UTF-8 is no text: whoever reads it finds bytes."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def copy(damaged: Path, new: sqlite3.Connection, largest: int) -> None:
    """Copies the messages with numbers up to `largest`, and whose they are.

    Raises sqlite3.Error when the new file takes no more: what is copied by then stays.
    """
    with closing(sqlite3.connect(damaged)) as old:
        old.text_factory = text
        name, offered = _about(old)
        with new:
            new.execute("INSERT INTO owner (id) VALUES (?)", (name,))
            new.execute("INSERT INTO total VALUES (0, 0, 0, 0, ?)", (offered,))
        rows = _readable(old, 1, largest, 0)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            _insert(new, some)


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
        new.execute("UPDATE total SET clock = max(clock, ?)", (max(row[4] for row in rows),))


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
