"""Sets of sequence numbers."""

from bisect import bisect_right


class Ranges:
    """A set of integers, as sorted ranges."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> "zip[tuple[int, int]]":
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, first: int, last: int) -> tuple[int, int]:
        """Adds first to last; gives the range that it is part of now."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:  # the usual case
            lasts[-1] = last
            return firsts[-1], last
        start = bisect_right(lasts, first - 2)  # the first range that touches it
        end = bisect_right(firsts, last + 1)  # after the last one that does
        if start < end:
            first, last = min(first, firsts[start]), max(last, lasts[end - 1])
        firsts[start:end], lasts[start:end] = [first], [last]
        return first, last

    def after(self, number: int) -> int:
        """The first number from `number` on that is not in the set."""
        at = bisect_right(self._firsts, number) - 1
        return self._lasts[at] + 1 if at >= 0 and self._lasts[at] >= number else number

    def holds(self, first: int, last: int) -> bool:
        """Whether all of first to last is in the set."""
        return self.after(first) > last

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of first to last that are in the set; none of an empty range."""
        if first > last:
            return []
        at, end = bisect_right(self._lasts, first - 1), bisect_right(self._firsts, last)
        return [(max(first, self._firsts[n]), min(last, self._lasts[n])) for n in range(at, end)]

    def forget(self, below: int) -> None:
        """Drops the ranges that end before `below`."""
        count = bisect_right(self._lasts, below - 1)
        del self._firsts[:count], self._lasts[:count]
