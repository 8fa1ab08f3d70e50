"""Device files on disk: a digest that shows changes, and copies of the last good ones."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from nexus.config.files import MOST_BYTES, Files, content, read, signature

__all__ = ["Files", "digest", "keep", "kept_files", "place", "read", "signature"]


def digest(files: Mapping[Path, bytes]) -> str:
    """A digest of names and contents, 16 characters."""
    found = sha256()
    for file in sorted(files):
        found.update(b"%b\0%d\0" % (os.fsencode(file.name), len(files[file])) + files[file])
    return found.hexdigest()[:16]


def place(folder: Path, path: Path) -> Path:
    """Where the last good files of `path` are kept: gateways of other files may share the folder."""
    return folder / f"devices-{sha256(os.fsencode(path.absolute())).hexdigest()[:12]}.json"


def keep(files: Mapping[Path, bytes], kept: Path) -> None:
    """Keeps good files as they are, their variables not filled in. Raises OSError."""
    data = json.dumps({str(file): text.decode("utf-8-sig") for file, text in files.items()}).encode()
    if kept.is_file() and kept.read_bytes() == data:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(f".{os.getpid()}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        new.replace(kept)
    finally:
        new.unlink(missing_ok=True)


def kept_files(kept: Path) -> Files | None:
    """The last good files, under their own names; None when there are none."""
    try:
        found = json.loads(content(kept, 2 * MOST_BYTES))
        return {Path(file): text.encode() for file, text in found.items()} or None
    except (OSError, ValueError, AttributeError):
        return None
