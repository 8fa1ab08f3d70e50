"""Why a notification was not taken."""

from collections.abc import Sequence


class RefusedError(Exception):
    """The receiver will never take this one."""


class LaterError(Exception):
    """It may take it later, not before `seconds` if it says so."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class PartlyError(Exception):
    """Not all of a mail's recipients have it: `later` may take it later, and `refused` never."""

    def __init__(self, reason: str, later: Sequence[str], refused: Sequence[str]) -> None:
        super().__init__(reason)
        self.later = tuple(later)
        self.refused = tuple(refused)


def short(text: str, most: int = 300) -> str:
    """One line of printable letters, of at most so many."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
