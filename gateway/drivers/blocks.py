"""Read plans: neighbouring items merged into blocks. Pure."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span(Generic[T]):
    """Where one item lies: `count` units from `start` in `space`, which is never merged with another space."""

    space: Hashable
    start: int
    count: int
    item: T


@dataclass(frozen=True, slots=True)
class Block(Generic[T]):
    """One request: `count` units from `start`, and the spans that lie in it."""

    space: Hashable
    start: int
    count: int
    spans: tuple[Span[T], ...]


FIRST_REMERGE, LONGEST_REMERGE = 60.0, 3600.0  # seconds


class AdaptivePlan(Generic[T]):
    """A plan that reads around refused parts, for a while: a booting PLC refuses what it has a moment later."""

    def __init__(self, whole: T, *, pause: float = FIRST_REMERGE) -> None:
        self._whole = self._plan = whole
        self._until = inf
        self._pause = pause

    def current(self, now: float) -> T:
        """The plan to use now: the one that works, or from time to time the whole one again."""
        if now >= self._until:
            self._plan, self._until = self._whole, inf
        return self._plan

    def split(self, plan: T, now: float) -> None:
        """The device refused a part: `plan` reads around it, and the whole is tried again after a growing pause."""
        if self._until == inf:
            self._until = now + self._pause
            self._pause = min(LONGEST_REMERGE, self._pause * 2)
        self._plan = plan


def plan(spans: Iterable[Span[T]], *, limit: int, gap: int) -> list[Block[T]]:
    """The fewest blocks of at most `limit` units that cover the spans, reading over holes of up to `gap` units.

    A span longer than `limit` has a block of its own.
    """
    blocks: list[Block[T]] = []
    run: list[Span[T]] = []
    end = 0
    for span in sorted(spans, key=lambda span: (repr(span.space), span.start, span.count)):
        near = run and span.space == run[0].space and span.start <= end + gap
        if near and max(end, span.start + span.count) - run[0].start <= limit:
            run.append(span)
            end = max(end, span.start + span.count)
        else:
            if run:
                blocks.append(_block(run, end))
            run, end = [span], span.start + span.count
    if run:
        blocks.append(_block(run, end))
    return blocks


def halves(block: Block[T]) -> list[Block[T]]:
    """Splits a refused block into two, each only as long as its spans; a single span cannot be split."""
    middle = len(block.spans) // 2
    return [
        _block(list(part), max(span.start + span.count for span in part))
        for part in (block.spans[:middle], block.spans[middle:])
        if part and len(block.spans) > 1
    ]


def _block(run: list[Span[T]], end: int) -> Block[T]:
    start = run[0].start
    return Block(run[0].space, start, end - start, tuple(run))
