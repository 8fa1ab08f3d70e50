"""When to read what: a drift-free grid for each interval, and retries in between. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor, inf
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

FIRST_SECONDS = 5.0  # everything is read once within this time; with connecting, a device is taken over within 10 s


def slot(moment: float, width: float) -> int:
    """The number of the first slot of so many seconds that begins at `moment` or later, give or take a microsecond."""
    return ceil((moment - 1e-6) / width)


@dataclass(frozen=True, slots=True)
class Spread:
    """Spreads devices over an interval by `phase`, from 0 to 1: on so many `moments` of it, where slots begin."""

    phase: float
    width: float
    moments: int

    def first(self, now: float, interval: float) -> float:
        """When the device's interval begins, within `interval` seconds from now."""
        apart = max(1, int(interval / self.moments / self.width)) * self.width
        return (slot(now, apart) + int(self.phase * int(interval / apart + 1e-9))) * apart


@dataclass(slots=True)
class _Grid(Generic[T]):
    interval: float
    items: tuple[T, ...]
    start: float
    due: float
    again: float  # an extra read then: the first one, or because it was not read when it was due


class Tick(NamedTuple, Generic[T]):
    """What to read now: `lateness` in seconds behind the grid, `missed` ticks that were skipped.

    So many readings were `due` on the grid since the last time, of which so many were `skipped`.
    """

    items: tuple[T, ...]
    lateness: float
    missed: int
    due: int = 0
    skipped: int = 0


class Schedule(Generic[T]):
    """Items by their intervals, in seconds. Ticks that were missed are skipped."""

    def __init__(self, items: Iterable[tuple[T, float]], *, now: float, spread: Spread) -> None:
        groups: dict[float, list[T]] = {}
        for item, interval in items:
            groups.setdefault(interval, []).append(item)
        due, first = (spread.first(now, seconds) for seconds in (min(groups), min(*groups, FIRST_SECONDS)))
        self._grids = [_Grid(interval, tuple(group), due, due, first) for interval, group in sorted(groups.items())]
        self._taken: list[_Grid[T]] = []

    @property
    def next_due(self) -> float:
        """When there is something to read next, on the clock of `now`."""
        if len(self._grids) == 1:  # the usual case
            [grid] = self._grids
            return min(grid.due, grid.again)
        return min(min(grid.due, grid.again) for grid in self._grids)

    def take(self, now: float) -> Tick[T]:
        """What is due at `now`; moves each grid to its first tick after `now`."""
        self._taken = taken = []
        lateness, missed, due, skipped = 0.0, 0, 0, 0
        for grid in self._grids:
            late = now - grid.due
            if late >= 0:
                steps = floor(late / grid.interval) + 1
                lateness = max(lateness, late - (steps - 1) * grid.interval)
                missed += steps - 1
                due += steps * len(grid.items)
                skipped += (steps - 1) * len(grid.items)
                ticks = round((grid.due - grid.start) / grid.interval) + steps
                grid.due = grid.start + ticks * grid.interval  # adding it up would drift
            elif now < grid.again:
                continue
            grid.again = inf
            taken.append(grid)
        if len(taken) == 1:  # the usual case: all items, in the same object as before
            return Tick(taken[0].items, lateness, missed, due, skipped)
        return Tick(tuple(chain.from_iterable(grid.items for grid in taken)), lateness, missed, due, skipped)

    def put_back(self, again: float, *, everything: bool = False) -> None:
        """What was taken last, or `everything`, was not read: it is due at `again`, unless its grid is before that."""
        for grid in self._grids if everything else self._taken:
            grid.again = again
