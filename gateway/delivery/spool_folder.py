"""A folder of spools: each gateway claims one, finds it again after a restart, and empties abandoned ones."""

import errno
import fcntl
import itertools
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway.delivery import salvage
from gateway.delivery.spool import Spool
from nexus.process import log
from nexus.process.errors import ConfigError

_NAME = re.compile(r"spool-\d+\.db", re.ASCII)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of the file system


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
    for number in itertools.count():
        file = folder / f"spool-{number}.db"
        try:
            lock = _locked(file)
        except OSError as error:
            if not file.with_suffix(".lock").exists() or error.errno in _NO_LOCKS:
                raise
            said = "a spool cannot be locked, using another: give the lock file to the gateway's user, or remove it"
            log.get("spool").error(said, file=str(file.with_suffix(".lock")), reason=error.strerror)
            continue
        if lock is not None:
            return file, lock
    raise AssertionError


class Abandoned:
    """The spool of a gateway that no longer exists: ours until it is empty, under its own name and numbers."""

    def __init__(self, file: Path, lock: int, max_bytes: int, max_age: float) -> None:
        self._file = file
        self._lock = lock
        self.spool = Spool(file, max_bytes, max_age)

    def close(self, *, remove: bool) -> None:
        """Lets go of the file, and removes it if it is empty; not while a damaged one waits to be copied into it."""
        self.spool.close()
        if remove and not salvage.unsaved(self._file):
            for rest in ("", "-wal", "-shm"):
                self._file.with_name(self._file.name + rest).unlink(missing_ok=True)
        os.close(self._lock)


def free(folder: Path, unusable: Callable[[Path, OSError], None]) -> list[Path]:
    """The spools that no process has just now; `unusable` hears of those of which nobody can tell."""
    names = {path.name.partition(".unsaved-")[0] for path in folder.glob("spool-*.db*")}
    found = []
    for file in sorted(folder / name for name in names if _NAME.fullmatch(name)):
        if not _is_there(file):
            continue
        try:
            lock = _locked(file)
        except OSError as error:
            unusable(file, error)
            continue
        if lock is not None:
            os.close(lock)
            found.append(file)
    return found


def abandoned(file: Path, max_bytes: int, max_age: float) -> Abandoned | None:
    """A spool that no process has; None if one has it now, or its lock cannot be used."""
    with suppress(OSError):
        if _is_there(file) and (lock := _locked(file)) is not None:
            return Abandoned(file, lock, max_bytes, max_age)
    return None


def _is_there(file: Path) -> bool:
    """A process may have ended when a damaged file had its new name, and before there was another one."""
    return file.exists() or bool(salvage.unsaved(file))


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
