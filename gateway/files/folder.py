"""Device files on disk, by names that cannot lead out of their directory."""

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.config import device_files
from gateway.files.errors import FilesError
from nexus.config.diagnostics import Diagnostics
from nexus.process.errors import ConfigError

MOST_BYTES = 4_000_000  # of files that can be changed through the broker
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}\.ya?ml", re.IGNORECASE)
_NEW_MODE = 0o644

Texts = Mapping[str, str | None]  # by name; None for a file to be deleted


class Folder:
    """A device file, or a directory of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, str]:
        """The files' texts by name. Raises FilesError."""
        try:
            files = device_files.read(self._path, Diagnostics())
        except ConfigError as error:
            raise FilesError(str(error)) from None
        return {file.name: data.decode("utf-8-sig", "replace") for file, data in files.items()}

    @property
    def digest(self) -> str:
        """A digest of the files on disk; empty if they cannot be read."""
        try:
            return device_files.digest(device_files.read(self._path, Diagnostics()))
        except ConfigError:
            return ""

    def overlaid(self, changes: Texts) -> device_files.Files:
        """The files as they would be after the changes. Raises FilesError for invalid names."""
        texts: dict[str, str | None] = {**self.read(), **changes}
        return {self._file(name): text.encode() for name, text in texts.items() if text is not None}

    def read_only_because(self) -> str | None:
        """Why the files cannot be changed here; None if they can."""
        try:
            files = [file for file in self._directory.iterdir() if self._is_file_of_ours(file)]
        except OSError as error:
            return f"{self._directory} cannot be read: {error.strerror}"
        if (self._directory / "..data").is_symlink():
            return "the files come from a ConfigMap: change that, and the gateway takes it"
        if linked := next((file.name for file in files if file.is_symlink()), None):
            return f"{linked} is a link: change what it leads to"
        if not os.access(self._directory, os.W_OK | os.X_OK):
            return f"user {os.geteuid()} may not write in {self._directory}"
        with suppress(OSError):
            if sum(file.stat().st_size for file in files) > MOST_BYTES:
                return f"the files have more than {MOST_BYTES // 1_000_000} MB: use templates, or change them on disk"
        return None

    def replace(self, changes: Texts) -> None:
        """Writes and deletes files, each completely or not at all. Raises FilesError."""
        try:
            for name, text in changes.items():
                if text is not None:
                    self._write(self._file(name), text)
            for name, text in changes.items():
                if text is None:
                    self._file(name).unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise FilesError(f"cannot be written: {error.strerror}") from None

    @property
    def _directory(self) -> Path:
        return self._path if self._path.is_dir() else self._path.parent

    def _is_file_of_ours(self, file: Path) -> bool:
        return file.suffix.lower() in (".yaml", ".yml") and (self._path.is_dir() or file == self._path)

    def _file(self, name: str) -> Path:
        """Raises FilesError."""
        if not self._path.is_dir():
            if name != self._path.name:
                raise FilesError(f"the gateway has the one file {self._path.name}, and no {name!r}")
            return self._path
        file = self._path / name
        if _NAME.fullmatch(name) or (Path(name).name == name and name[:1] != "." and file.is_file()):
            return file
        raise FilesError(f"{name!r} is not a name for a device file: letters, digits, - and _, then .yaml")

    def _write(self, file: Path, text: str) -> None:
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else _NEW_MODE
        new = file.with_name(f".{file.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as target:
                target.write(text.encode())
                target.flush()
                os.fsync(target.fileno())
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)

    def _sync(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
