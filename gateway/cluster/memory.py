"""By what a gateway knows its own past after a restart: nobody else has its spool."""

from contextlib import suppress
from pathlib import Path


class Memory:
    """The last id in the group, in a file beside the spool."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: str | None = None

    def recall(self, member: str) -> str | None:
        """The id that the process before us had, under the same name."""
        with suppress(OSError, ValueError):
            name, _, before = self._file.read_text().partition("\n")
            return before if name == member and before else None
        return None

    def keep(self, member: str, instance: str) -> None:
        """Notes our id. Without it a restart waits for a lease, which is no harm."""
        if self._kept != instance:
            self._kept = instance
            with suppress(OSError):
                self._file.write_text(f"{member}\n{instance}")
