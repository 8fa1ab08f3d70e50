"""Mappings and lists of a YAML file that know their lines."""

from pathlib import Path
from typing import Any


class Block(dict[str, Any]):
    """A mapping, and where it and its keys stand."""

    __slots__ = ("file", "line", "lines")

    def __init__(self, file: Path, line: int) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: dict[str, int] = {}  # of keys on other lines

    def line_of(self, key: object) -> int:
        """The line of a key, or of the mapping if it has no such key."""
        return self.lines.get(key, self.line) if isinstance(key, str) else self.line


class Items(list[Any]):
    """A sequence, and the lines of its items."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def merged(base: Block, over: Block) -> Block:
    """`over` merged onto `base`, at the place of `over`; keys from `base` keep their lines if the file is the same."""
    made = Block(over.file, over.line)
    made.update(base)
    made.update(over)
    if base.file == over.file:
        made.lines = {key: base.line_of(key) for key in base}
    made.lines |= {key: over.line_of(key) for key in over}
    return made
