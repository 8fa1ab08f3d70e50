"""Scans in memory on their way to the disk, in the order in which they came; bounded in readings. Pure."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from gateway.delivery.message import Scan


class Waiting:
    """At most `limit` readings. Some are `taken` for the disk, and done with once it has them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scans: deque[Scan] = deque()
        self._taken: list[Scan] = []
        self._lowest_taken: int | None = None
        self._lowest: deque[int] = deque()  # first numbers that are lower than all that came later
        self.readings = 0

    def __bool__(self) -> bool:
        return bool(self._scans or self._taken)

    def __iter__(self) -> Iterator[Scan]:
        return chain(self._taken, self._scans)

    def add(self, scan: Scan) -> list[Scan]:
        """Takes a scan; gives the oldest ones that have to go for it."""
        self._scans.append(scan)
        self._note(scan)
        self.readings += scan.count
        gone = []
        while self.readings > self._limit and len(self._scans) > 1:
            gone.append(self._next())
            self.readings -= gone[-1].count
        return gone

    def has_room(self, scan: Scan) -> bool:
        """Whether none has to go for it."""
        return self.readings + scan.count <= self._limit

    def drop(self, unwanted: Callable[[Scan], bool]) -> None:
        """Lets go of what need not be kept; none are taken now."""
        kept = [scan for scan in self._scans if not unwanted(scan)]
        self._scans.clear()
        self._lowest.clear()
        for scan in kept:
            self._scans.append(scan)
            self._note(scan)
        self.readings = sum(scan.count for scan in kept)

    def take(self, count: int) -> list[Scan]:
        """The oldest ones, for the disk."""
        self._taken = [self._next() for _ in range(min(count, len(self._scans)))]
        self._lowest_taken = min((scan.first for scan in self._taken), default=None)
        return self._taken

    def done(self) -> None:
        """The disk has what was taken."""
        self.readings -= sum(scan.count for scan in self._taken)
        self._taken, self._lowest_taken = [], None

    def put_back(self) -> None:
        """The disk does not take it now."""
        for scan in reversed(self._taken):
            self._scans.appendleft(scan)
            if not self._lowest or scan.first <= self._lowest[0]:
                self._lowest.appendleft(scan.first)
        self._taken, self._lowest_taken = [], None

    def number(self, give: Callable[[Scan], None]) -> None:
        """Has each given its numbers, now that there are some."""
        self._lowest.clear()
        for scan in self._scans:
            give(scan)
            self._note(scan)

    @property
    def first(self) -> int | None:
        """The lowest number of all; None when nothing waits."""
        if not self._lowest:
            return self._lowest_taken
        if self._lowest_taken is None:
            return self._lowest[0]
        return min(self._lowest[0], self._lowest_taken)

    def _next(self) -> Scan:
        scan = self._scans.popleft()
        if self._lowest and self._lowest[0] == scan.first:
            self._lowest.popleft()
        return scan

    def _note(self, scan: Scan) -> None:
        while self._lowest and self._lowest[-1] > scan.first:
            self._lowest.pop()
        self._lowest.append(scan.first)
