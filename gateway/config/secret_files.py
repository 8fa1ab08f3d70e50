"""Which files device files may name, so that their author cannot have any other file read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationInfo

from nexus.config.secret_line import read_line

VARIABLE = "NEXUS_DEVICE_SECRETS"

T = TypeVar("T")


@dataclass(frozen=True)
class SecretFolders:
    """Where such files lie: in `secrets`, or beside the device files if these have a directory of their own."""

    secrets: Path
    devices: Path | None

    def hold(self, file: Path) -> bool:
        """Whether a file, as it is written and where its links lead, lies in one of them. It need not exist.

        What is written decides first: of a path outside nothing is looked up, so nothing is told about it.
        """
        if ".." in file.parts:
            return False
        written = file.absolute()
        folders = [self.secrets] if self.devices is None else [self.secrets, self.devices]
        try:
            return any(
                written.is_relative_to(folder) and written.resolve().is_relative_to(folder.resolve())
                for folder in folders
            )
        except (OSError, RuntimeError):  # a loop of symbolic links
            return False


def folders(path: Path, environment: Mapping[str, str] = os.environ) -> SecretFolders:
    """Those for the device file or directory `path`."""
    devices = _absolute(path)
    secrets = Path(environment.get(VARIABLE) or devices.parent / "device-secrets")
    return SecretFolders(_absolute(secrets), devices if devices.is_dir() else None)


def _absolute(path: Path) -> Path:
    """An absolute path, with links unresolved."""
    return Path(os.path.normpath(path.absolute()))


def allowed(value: T, info: ValidationInfo) -> T:
    """Validates a path in a driver's settings; the folders are the context. Raises ValueError.

    Without a context the path comes from a command line, and may lead anywhere.
    """
    where = info.context
    if isinstance(where, SecretFolders) and isinstance(value, Path) and not where.hold(value):
        beside = "" if where.devices is None else f" or {where.devices}"
        raise ValueError(
            f"{value} is not below {where.secrets}{beside}, the only places for files that device files name: "
            f"move it there, or set {VARIABLE}"
        )
    return value


def password(file: Path) -> str:
    """The single line of a file. Raises ValueError if it has more or none, and OSError."""
    try:
        return read_line(file)
    except ValueError as error:
        raise ValueError(f"password_file: {file} {error}") from None
