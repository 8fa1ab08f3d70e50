"""A folder of spools: each gateway has one for itself, finds it again, and takes over what nobody has."""

import fcntl
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from gateway.spool import Entry, Spool, SpoolError, connected
from nexus.runtime import log
from nexus.runtime.errors import ConfigError

_ROWS_AT_ONCE = 1000


@asynccontextmanager
async def claimed(folder: Path, max_bytes: int, max_age: float) -> AsyncIterator[Spool]:
    """The first spool in `folder` that no other process has, while entered; made if there is none.

    So a gateway that was killed finds its own again, and several share a folder. What others left there, and nobody
    has, is taken over. Raises ConfigError when the folder cannot be used.
    """
    try:
        file, lock = _claim(folder)
    except OSError as error:
        raise ConfigError(f"NEXUS_SPOOL_DIR: {folder} cannot be used: {error.strerror}") from None
    try:
        spool = Spool(file, max_bytes, max_age)
        try:
            for left, left_lock in _abandoned(folder):
                await _adopt(left, left_lock, spool)
            yield spool
        finally:
            spool.close()
    finally:
        os.close(lock)


def _claim(folder: Path) -> tuple[Path, int]:
    folder.mkdir(parents=True, exist_ok=True)
    files = (folder / f"spool-{number}.db" for number in itertools.count())
    return next((file, lock) for file in files if (lock := _locked(file)) is not None)


def _locked(file: Path) -> int | None:
    lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _abandoned(folder: Path) -> list[tuple[Path, int]]:
    found = [(file, _locked(file)) for file in sorted(folder.glob("spool-*.db"))]
    return [(file, lock) for file, lock in found if lock is not None]


async def _adopt(file: Path, lock: int, spool: Spool) -> None:
    """Moves what is in the spool of a gateway that is no more."""
    try:
        with closing(connected(file)) as left:
            rows = left.execute("SELECT topic, payload, readings, time FROM message ORDER BY id")
            while found := rows.fetchmany(_ROWS_AT_ONCE):
                entries = []
                for name, payload, readings, time in found:
                    entries.append(Entry(name, payload, readings, time, spool.next))
                    spool.next += readings
                await spool.write(entries)
        for path in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
            path.unlink(missing_ok=True)
    except (sqlite3.Error, SpoolError, OSError) as error:
        log.get("spool").error("an abandoned spool could not be taken over", file=str(file), reason=str(error))
    finally:
        os.close(lock)
