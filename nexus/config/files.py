"""Files that operators write: a single one or a directory, read with limits, and watched for changes."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from nexus.config.diagnostics import Diagnostics
from nexus.process.errors import ConfigError

MOST_BYTES = 64_000_000  # in all files: 5,000 devices with 20 tags each, written out, have 11 million
MOST_FILES = 10_000

Files = dict[Path, bytes]
Signature = tuple[tuple[object, ...], ...]


def read(path: Path, diagnostics: Diagnostics) -> Files:
    """The file, or the .yaml files of a directory. Raises ConfigError when there are none."""
    found: Files = {}
    left = MOST_BYTES
    for file in _listed(path):
        try:
            data = content(file, left)
        except OSError as error:
            diagnostics.add(file, None, _unreadable(file, error))
            continue
        except ValueError as error:
            diagnostics.add(file, None, str(error))
            continue
        left -= len(data)
        found[file] = data
    _warn_of_folders(path, diagnostics)
    return found


def signature(path: Path) -> Signature:
    """Time, size and inode of the files themselves, which also change when a ConfigMap's symbolic links are swapped."""
    try:
        files = _listed(path)
    except ConfigError as error:
        return ((str(error),),)
    found: list[tuple[object, ...]] = []
    for file in files:
        try:
            seen = file.stat()
        except OSError as error:
            found.append((file.name, error.errno))
            continue
        found.append((file.name, seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_mode))
    return tuple(found)


def _listed(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if _is_ours(file))
    except OSError as error:
        raise ConfigError(f"{path}: {_unreadable(path, error)}") from None
    if not files:
        raise ConfigError(f"{path}: this directory holds no .yaml file")
    if len(files) > MOST_FILES:
        raise ConfigError(f"{path}: this directory holds more than {MOST_FILES:,} .yaml files")
    return files


def _is_ours(file: Path) -> bool:
    return file.suffix.lower() in (".yaml", ".yml") and file.name[0] != "."


def _warn_of_folders(path: Path, diagnostics: Diagnostics) -> None:
    with suppress(OSError):
        # A mounted ConfigMap also has its files in hidden folders.
        folders = {file.parent for file in path.glob("*/*") if _is_ours(file) and file.parent.name[0] != "."}
        for folder in sorted(folders):
            diagnostics.warn(folder, None, "is a folder, whose files are not read: move them up")


def content(file: Path, most: int) -> bytes:
    """Of a file, at most so many bytes.

    Raises OSError, and ValueError for what must not be opened: a pipe would block, a device may do anything.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("is not an ordinary file: remove it, or name it otherwise")
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise ValueError(f"the files have more than {MOST_BYTES // 1_000_000} MB: use templates")
    return data


def _unreadable(file: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        if file.is_symlink():
            return f"is a link to {file.readlink()}, which is not there: remove the link, or put the file back"
        return "cannot be read: no such file or directory"
    if isinstance(error, PermissionError):
        return f"cannot be read: user {os.geteuid()} may not; change its owner or mode"
    return f"cannot be read: {error.strerror}"
