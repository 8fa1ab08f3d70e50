"""The id of the last run in the group, kept beside the spool, so that a restart takes its devices back at once."""

from contextlib import suppress
from pathlib import Path


class InstanceFile:
    """One line of name, one of id."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: str | None = None

    def recall(self, member: str) -> str | None:
        """The id of the last run under the same name."""
        with suppress(OSError, ValueError):
            name, _, before = self._file.read_text().partition("\n")
            return before if name == member and before else None
        return None

    def keep(self, member: str, instance: str) -> None:
        """Keeps our id. Without it a restart only waits for a lease."""
        if self._kept != instance:
            self._kept = instance
            with suppress(OSError):
                self._file.touch(0o600)
                self._file.chmod(0o600)  # written by an older version
                self._file.write_text(f"{member}\n{instance}")
