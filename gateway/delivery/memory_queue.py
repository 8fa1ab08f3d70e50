"""Batches in memory on their way to the disk, in order of arrival; bounded in readings. Pure."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from gateway.delivery.batch import Batch


class MemoryQueue:
    """At most `limit` readings. Those `taken` are being written, and leave when the disk has them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._taken: list[Batch] = []
        self._lowest_taken: int | None = None
        self._lowest: deque[int] = deque()  # first numbers that are lower than all later ones
        self.readings = 0

    def __bool__(self) -> bool:
        return bool(self._batches or self._taken)

    def __iter__(self) -> Iterator[Batch]:
        return chain(self._taken, self._batches)

    def add(self, batch: Batch) -> list[Batch]:
        """Adds a batch; returns the oldest ones, which are dropped to make room."""
        self._batches.append(batch)
        self._note(batch)
        self.readings += batch.count
        gone = []
        while self.readings > self._limit and len(self._batches) > 1:
            gone.append(self._next())
            self.readings -= gone[-1].count
        return gone

    def has_room(self, batch: Batch) -> bool:
        """Whether it can be added without dropping another."""
        return self.readings + batch.count <= self._limit

    def drop(self, unwanted: Callable[[Batch], bool]) -> None:
        """Drops unwanted batches; only while none are taken."""
        kept = [batch for batch in self._batches if not unwanted(batch)]
        self._batches.clear()
        self._lowest.clear()
        for batch in kept:
            self._batches.append(batch)
            self._note(batch)
        self.readings = sum(batch.count for batch in kept)

    def take(self, count: int) -> list[Batch]:
        """The oldest batches, to be written."""
        self._taken = [self._next() for _ in range(min(count, len(self._batches)))]
        self._lowest_taken = min((batch.first for batch in self._taken), default=None)
        return self._taken

    def done(self) -> None:
        """The disk has what was taken."""
        self.readings -= sum(batch.count for batch in self._taken)
        self._taken, self._lowest_taken = [], None

    def put_back(self) -> None:
        """The disk refused what was taken; it stays queued."""
        for batch in reversed(self._taken):
            self._batches.appendleft(batch)
            if not self._lowest or batch.first <= self._lowest[0]:
                self._lowest.appendleft(batch.first)
        self._taken, self._lowest_taken = [], None

    def number(self, give: Callable[[Batch], None]) -> None:
        """Gives every batch its numbers, now that the spool is open."""
        self._lowest.clear()
        for batch in self._batches:
            give(batch)
            self._note(batch)

    @property
    def first(self) -> int | None:
        """The lowest number of all; None when the queue is empty."""
        if not self._lowest:
            return self._lowest_taken
        if self._lowest_taken is None:
            return self._lowest[0]
        return min(self._lowest[0], self._lowest_taken)

    def _next(self) -> Batch:
        batch = self._batches.popleft()
        if self._lowest and self._lowest[0] == batch.first:
            self._lowest.popleft()
        return batch

    def _note(self, batch: Batch) -> None:
        while self._lowest and self._lowest[-1] > batch.first:
            self._lowest.pop()
        self._lowest.append(batch.first)
