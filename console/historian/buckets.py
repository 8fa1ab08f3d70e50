"""Which buckets a range of time is shown in, and what they are made from. Pure."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# Widths in seconds that people read well; a range is shown in the narrowest that gives no more buckets than wanted.
WIDTHS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30),
    *(_MINUTE * number for number in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(_HOUR * number for number in (1, 2, 3, 4, 6, 8, 12)),
    *(_DAY * number for number in (1, 2, 3, 4, 5, 7, 14, 28, 56, 112, 224, 448, 896, 3584, 14336)),
)
_MONDAY = datetime(2000, 1, 3)  # of whatever zone: where weeks and other runs of days begin


class Source(Enum):
    """Where buckets are made from."""

    raw = "metrics"
    minutes = "metrics_1min"
    hours = "metrics_1hour"
    days = "metrics_1day"


@dataclass(frozen=True)
class Kept:
    """What the database has: whether rollups are computed ahead, whose days the daily ones are, and since when.

    A source that `since` does not name is kept for ever.
    """

    rollups: bool
    zone: str
    since: dict[Source, datetime]

    def has(self, source: Source, start: datetime) -> bool:
        """Whether `source` still has all from `start` on."""
        return source not in self.since or self.since[source] <= start


@dataclass(frozen=True)
class Buckets:
    """Where each bucket starts, and where the last ends; `edges` are in UTC."""

    source: Source
    width: float  # seconds; a local day is `_DAY`, however long it is
    edges: list[datetime]

    @property
    def resolution(self) -> str:
        """Like 2min or 12hour."""
        for unit, seconds in (("day", _DAY), ("hour", _HOUR), ("min", _MINUTE), ("s", 1)):
            if self.width % seconds == 0:
                return f"{round(self.width / seconds)}{unit}"
        return f"{round(self.width * 1000)}ms"


def choose(start: datetime, end: datetime, points: int, zone: ZoneInfo, kept: Kept) -> Buckets:
    """At most `points` buckets, and one more where the range begins within one, from the coarsest source."""
    span = (end - start).total_seconds()
    for width in WIDTHS:
        if span > width * points:
            continue
        edges = _edges(start, end, width, zone)
        if (source := _source(edges, width, zone, kept)) is not None:
            return Buckets(source, width, edges)
    width = WIDTHS[-1]
    return Buckets(Source.raw, width, _edges(start, end, width, zone))


def _source(edges: list[datetime], width: float, zone: ZoneInfo, kept: Kept) -> Source | None:
    """The coarsest that such buckets can be made from; None if what they need is not kept so long."""
    if not kept.rollups:
        return Source.raw
    able = [Source.raw]
    if width % _MINUTE == 0:
        able.append(Source.minutes)
    if width % _HOUR == 0 and all(edge.minute == 0 for edge in (edges[0], edges[len(edges) // 2], edges[-1])):
        able.append(Source.hours)
    if width % _DAY == 0 and zone.key == kept.zone:
        able.append(Source.days)
    # Nothing coarser will do better than the days, which are kept longest.
    whole = [source for source in able if kept.has(source, edges[0])]
    return whole[-1] if whole else able[-1] if width >= _DAY else None


def _edges(start: datetime, end: datetime, width: float, zone: ZoneInfo) -> list[datetime]:
    if width < _DAY:
        step = timedelta(seconds=width)
        first = start - (start - _MONDAY.replace(tzinfo=UTC)) % step
        return [first + step * number for number in range(-((first - end) // step) + 1)]
    days = timedelta(seconds=width)
    local = start.astimezone(zone).replace(tzinfo=None)
    at = local - (local - _MONDAY) % days
    edges = [_utc(at, zone)]
    while edges[-1] < end:
        at += days
        edges.append(_utc(at, zone))
    return edges


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def within(edges: list[datetime], start: datetime, end: datetime) -> tuple[int, int]:
    """The numbers of the buckets that a range meets: the first, and the one after the last."""
    return max(0, bisect_right(edges, start) - 1), min(len(edges) - 1, bisect_left(edges, end))
