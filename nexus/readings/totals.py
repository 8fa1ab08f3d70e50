"""Totals over time: of a rate, of the hours for which something was true, and of how often it became true. Pure."""

from math import isfinite

from nexus.contract.totals import Kept
from nexus.readings.definition import DerivedTag

SHORTEST_GAP_MS = 60_000  # what is longer, and than three intervals, is not counted: nobody knows what was meanwhile
_INTERVALS = 3


class Total:
    """One total. `now` is epoch ms, of one clock."""

    def __init__(self, tag: DerivedTag, kept: Kept) -> None:
        self._kind, self._per_ms, self._kept = tag.kind, tag.per * 1000, kept
        self._longest_ms = max(SHORTEST_GAP_MS, _INTERVALS * tag.interval * 1000)
        self._last: float | None = None
        self._time = 0

    @property
    def value(self) -> float:
        """What was counted so far."""
        return int(self._kept.value) if self._kind == "count" else self._kept.value

    def resume(self, value: float | None) -> None:
        """The value was this one at the time of the last one that was kept."""
        self._last, self._time = value, self._kept.time

    def add(self, value: float | None, now: int) -> None:
        """The value at this moment; None if nobody knows."""
        elapsed, before = now - self._time, self._last
        self._last, self._time = value, now
        if value is None:
            return
        self._kept.time = now
        if self._kind == "count":
            self._kept.value += self._kept.was is False and value != 0
            self._kept.was = value != 0
        elif before is not None and 0 < elapsed <= self._longest_ms:
            # A rate goes evenly from one value to the next, and what is true stays so until it is not.
            mean = before / 2 + value / 2 if self._kind == "total" else float(before != 0)
            after = self._kept.value + mean * (elapsed / self._per_ms)
            self._kept.value = after if isfinite(after) else self._kept.value
