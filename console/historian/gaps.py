"""Where readings are missing. Pure.

Nothing in the historian says how often a tag is read, and one that reports by exception is silent for a while; so a gap
is a silence that is long beside what is usual for the tag.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

_USUAL = 0.9  # so many of a tag's silences are no longer than the usual one
_LONGER = 5  # times the usual silence
_ENOUGH = 10  # readings, to know what is usual

Gap = tuple[datetime, datetime]


def between(times: Sequence[datetime], start: datetime, end: datetime) -> list[Gap]:
    """The gaps of a range with readings at `times`, which rise."""
    if not times:
        return [(start, end)] if start < end else []
    if len(times) < _ENOUGH:
        return []
    silences = sorted(after - before for before, after in pairwise(times))
    longest = max(silences[_usual(len(silences))] * _LONGER, timedelta(milliseconds=1))
    marks = [start, *times, end]
    return [(before, after) for before, after in pairwise(marks) if after - before > longest]


def empty(edges: Sequence[datetime], filled: Sequence[int], start: datetime, end: datetime) -> list[Gap]:
    """The gaps of a range in buckets between `edges`; those with the numbers `filled`, which rise, have readings.

    What is usual is what lies between neighbours, whatever their share: the longer an outage, the fewer are filled.
    """
    if not filled:
        return [(start, end)] if start < end else []
    marks = [-1, *filled, len(edges) - 1]
    longest = _usual_empty(filled) * _LONGER
    runs = [(edges[before + 1], edges[after]) for before, after in pairwise(marks) if after - before - 1 > longest]
    cut = [(max(first, start), min(after, end)) for first, after in runs]
    return [(first, after) for first, after in cut if first < after]


def _usual_empty(filled: Sequence[int]) -> int:
    """Empty buckets between neighbours that have readings: none of a tag that is read more often than that."""
    steps = sorted(after - before for before, after in pairwise(filled))
    return steps[_usual(len(steps))] - 1 if steps else 0


def _usual(count: int) -> int:
    """Which of so many silences, in order, is the usual one: with two or more not the longest."""
    return int((count - 1) * _USUAL)
