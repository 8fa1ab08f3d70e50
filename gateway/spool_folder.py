"""A folder of spools: each gateway has one for itself, finds it again, and empties what nobody has."""

import fcntl
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.spool import Spool
from nexus.runtime.errors import ConfigError


@asynccontextmanager
async def claimed(folder: Path, max_bytes: int, max_age: float) -> AsyncIterator[Spool]:
    """The first spool in `folder` that no other process has, while entered; made if there is none. Not open yet.

    So a gateway that was killed finds its own again, and several share a folder.
    Raises ConfigError when the folder cannot be used.
    """
    try:
        file, lock = _claim(folder)
    except OSError as error:
        raise ConfigError(f"NEXUS_SPOOL_DIR: {folder} cannot be used: {error.strerror}") from None
    spool = Spool(file, max_bytes, max_age)
    try:
        yield spool
    finally:
        spool.close()
        os.close(lock)


def _claim(folder: Path) -> tuple[Path, int]:
    folder.mkdir(0o700, parents=True, exist_ok=True)
    files = (folder / f"spool-{number}.db" for number in itertools.count())
    return next((file, lock) for file in files if (lock := _locked(file)) is not None)


class Abandoned:
    """The spool of a gateway that is no more: ours until it is empty, under its own name and numbers."""

    def __init__(self, file: Path, lock: int, max_bytes: int, max_age: float) -> None:
        self._file = file
        self._lock = lock
        self.spool = Spool(file, max_bytes, max_age)

    def close(self, *, remove: bool) -> None:
        """Lets go of the file, and removes it if it is empty."""
        self.spool.close()
        if remove:
            for rest in ("", "-wal", "-shm"):
                self._file.with_name(self._file.name + rest).unlink(missing_ok=True)
        os.close(self._lock)


def abandoned(folder: Path, max_bytes: int, max_age: float) -> list[Abandoned]:
    """The spools that no process has."""
    files = [file for file in sorted(folder.glob("spool-*.db")) if file.stem.removeprefix("spool-").isdecimal()]
    found = [(file, _locked(file)) for file in files]
    return [Abandoned(file, lock, max_bytes, max_age) for file, lock in found if lock is not None]


def _locked(file: Path) -> int | None:
    """None when another process has it. Raises OSError, also where files cannot be locked at all."""
    lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock
