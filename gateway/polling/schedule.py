"""When to read what: a drift-free grid for each interval; ticks that were missed are skipped. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import floor
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Grid(Generic[T]):
    interval: float
    items: tuple[T, ...]
    due: float


@dataclass(frozen=True, slots=True)
class Tick(Generic[T]):
    """What to read now: `lateness` in seconds behind the grid, `missed` ticks that were skipped."""

    items: tuple[T, ...]
    lateness: float
    missed: int


class Schedule(Generic[T]):
    """Items by their intervals, in seconds; `phase`, from 0 to 1, spreads devices over an interval."""

    def __init__(self, items: Iterable[tuple[T, float]], *, now: float, phase: float) -> None:
        groups: dict[float, list[T]] = {}
        for item, interval in items:
            groups.setdefault(interval, []).append(item)
        first = now + phase * min(groups)
        self._grids = [_Grid(interval, tuple(group), first) for interval, group in sorted(groups.items())]

    @property
    def next_due(self) -> float:
        """The moment of the next tick, on the clock of `now`."""
        return min(grid.due for grid in self._grids)

    def take(self, now: float) -> Tick[T]:
        """What is due at `now`; moves each grid to its first tick after `now`."""
        due: list[tuple[T, ...]] = []
        lateness, missed = 0.0, 0
        for grid in self._grids:
            late = now - grid.due
            if late < 0:
                continue
            due.append(grid.items)
            steps = floor(late / grid.interval) + 1
            lateness = max(lateness, late - (steps - 1) * grid.interval)
            missed += steps - 1
            grid.due += steps * grid.interval
        items = due[0] if len(due) == 1 else tuple(chain.from_iterable(due))  # mostly the very same ones
        return Tick(items, lateness, missed)
