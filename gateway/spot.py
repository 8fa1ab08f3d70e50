"""Where in the files, and in which device and tag, something is being checked."""

from dataclasses import dataclass

from gateway.faults import Faults
from gateway.yaml_source import Block


@dataclass(frozen=True, slots=True)
class Spot:
    """A mapping of a file; `label` says whose it is."""

    faults: Faults
    block: Block
    label: str

    def fault(self, key: str | None, message: str) -> None:
        """Notes what is wrong, at the line of `key`."""
        self.faults.add(self.block.file, self.block.of(key), f"{self.label}: {message}")
