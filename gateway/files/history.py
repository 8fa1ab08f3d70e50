"""The last versions of the device files, each as it was before somebody replaced it through the broker."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.files.errors import FilesError
from nexus.contract.device_files import MOST_VERSIONS, Version

_ID = re.compile(r"\d{13,16}")


class _Kept(msgspec.Struct):
    time: int
    by: str | None
    files: dict[str, str]


_decoder = msgspec.json.Decoder(_Kept)


class History:
    """A folder with a file per version; the oldest are deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, files: Mapping[str, str], by: str | None, now_ms: int) -> None:
        """Keeps files that are about to be replaced. Raises FilesError."""
        ids = self._ids()
        number = max(now_ms, *(int(one) + 1 for one in ids)) if ids else now_ms
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._folder / ".new"
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as target:
                target.write(msgspec.json.encode(_Kept(now_ms, by, dict(files))))
                target.flush()
                os.fsync(target.fileno())
            new.replace(self._folder / f"{number:013d}.json")
            for old in ids[: max(0, len(ids) + 1 - MOST_VERSIONS)]:
                (self._folder / f"{old}.json").unlink(missing_ok=True)
        except OSError as error:
            said = f"the present files cannot be kept in {self._folder}, so they are not replaced: {error.strerror}"
            raise FilesError(said) from None

    def versions(self) -> tuple[Version, ...]:
        """The newest first; damaged ones are left out."""
        found = [(one, self._read(one)) for one in reversed(self._ids())]
        return tuple(Version(one, kept.time, kept.by, tuple(sorted(kept.files))) for one, kept in found if kept)

    def files(self, version: str) -> dict[str, str]:
        """The files of a version. Raises FilesError."""
        kept = self._read(version) if version in self._ids() else None
        if kept is None:
            raise FilesError(f"there is no version {version[:40]!r}: `history` names those that are kept")
        return kept.files

    def _ids(self) -> list[str]:
        """The oldest first."""
        return sorted((file.stem for file in self._folder.glob("*.json") if _ID.fullmatch(file.stem)), key=int)

    def _read(self, version: str) -> _Kept | None:
        try:
            return _decoder.decode((self._folder / f"{version}.json").read_bytes())
        except (OSError, msgspec.MsgspecError):
            return None
