"""Decides which retained messages are due again, spread evenly over a period. Pure."""

from collections.abc import Collection


class Renewal:
    """One after the other, all of them within `seconds`. `now` in seconds."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._turn = 0  # which is next
        self._renewed = now

    def begin(self, now: float) -> None:
        """All were published just now."""
        self._renewed = now

    def due(self, names: Collection[str], now: float) -> list[str]:
        """Those whose turn has come."""
        most = len(names)
        count = min(most, int(most * (now - self._renewed) / self._seconds))
        if not count:
            return []
        ordered = list(names)
        self._renewed = now if count == most else self._renewed + count * self._seconds / most
        found = [ordered[turn % most] for turn in range(self._turn, self._turn + count)]
        self._turn = (self._turn + count) % most
        return found
