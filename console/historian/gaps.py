"""Where readings are missing. Pure.

Nothing in the historian says how often a tag is read, and one that reports by exception is silent for a while; so a gap
is a silence that is long beside what is usual for the tag.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

_USUAL = 0.9  # so many of a tag's silences are no longer than the usual one
_LONGER = 5  # times the usual silence
_FILLED = 0.5  # of the buckets from the first to the last that has readings; with fewer, an empty one is usual
_ENOUGH = 10  # readings, to know what is usual

Gap = tuple[datetime, datetime]


def between(times: Sequence[datetime], start: datetime, end: datetime) -> list[Gap]:
    """The gaps of a range with readings at `times`, which rise."""
    if not times:
        return [(start, end)] if start < end else []
    if len(times) < _ENOUGH:
        return []
    silences = sorted(after - before for before, after in pairwise(times))
    longest = max(silences[int(len(silences) * _USUAL)] * _LONGER, timedelta(milliseconds=1))
    marks = [start, *times, end]
    return [(before, after) for before, after in pairwise(marks) if after - before > longest]


def empty(edges: Sequence[datetime], filled: Sequence[int], start: datetime, end: datetime) -> list[Gap]:
    """The gaps of a range in buckets between `edges`; those with the numbers `filled`, which rise, have readings."""
    if not filled:
        return [(start, end)] if start < end else []
    if len(filled) < (filled[-1] - filled[0] + 1) * _FILLED:
        return []
    marks = [-1, *filled, len(edges) - 1]
    runs = [(edges[before + 1], edges[after]) for before, after in pairwise(marks)]
    cut = [(max(first, start), min(after, end)) for first, after in runs]
    return [(first, after) for first, after in cut if first < after]
