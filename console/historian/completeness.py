"""Whether everything that was due is there: what gateways counted beside what is stored, by device and hour. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from console.historian import times

HOUR = timedelta(hours=1)
RUN_LENGTH = 16  # of a run's name; what follows tells apart its counts of one hour
SILENT = timedelta(seconds=150)  # gateways say at least every minute that they count
_LEAST_GAP = timedelta(seconds=2)  # between two runs

Key = tuple[str, datetime]  # device, and the beginning of an hour


class Row(msgspec.Struct):
    """What one run of a gateway counted of a device and hour: the columns of the table `completeness`."""

    device: str
    time: datetime
    run: str
    since: datetime
    until: datetime
    ended: bool
    read: int
    marked: int
    sent: int
    repeated: int
    receipted: int
    dropped: int
    away: int
    resting: int
    overran: int

    @property
    def due(self) -> int:
        return self.read + self.away + self.resting + self.overran

    @property
    def is_of_drops(self) -> bool:
        """Whether it holds nothing but drops of what an earlier run had sent."""
        return self.dropped > 0 and not self.sent and not self.due


class Found(msgspec.Struct):
    """What the database has: rows in rollups, those that are late and not in them yet, and rejects.

    `alive` are the runs that have said lately that they count.
    """

    stored: Mapping[Key, int]
    late: Mapping[Key, int]
    rejected: Mapping[Key, int]
    alive: Collection[str] = ()


def items(rows: Sequence[Row], found: Found, start: datetime, stop: datetime, now: datetime) -> list[dict[str, Any]]:
    """An item for each device and hour between `start` and `stop` that was watched, or should have been."""
    by_device: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_device[row.device].append(row)
    made = []
    for device, own in sorted(by_device.items()):
        gaps = _unwatched(own, now)
        rate = _rate(own)
        by_hour: defaultdict[datetime, list[Row]] = defaultdict(list)
        for row in own:
            by_hour[row.time].append(row)
        hours = by_hour.keys() | {hour for gap in gaps for hour in _hours(*gap)}
        for hour in sorted(one for one in hours if start <= one < stop):
            of_hour = by_hour.get(hour, [])
            within = [part for gap in gaps if (part := _within(gap, hour)) is not None]
            down = [
                _cause(
                    "gateway down", max(1, round((upto - since).total_seconds() * rate)), since, upto, estimated=True
                )
                for since, upto in within
            ]
            counted = max((row.until for row in of_hour if _run(row) in found.alive), default=now)
            made.append(_item((device, hour), of_hour, found, down, round((now - counted).total_seconds() * rate)))
    return made


def _item(key: Key, rows: Sequence[Row], found: Found, down: list[dict[str, Any]], coming: int) -> dict[str, Any]:
    """`down` is estimated, and so are the readings `coming` that are stored and soon counted."""
    device, hour = key
    counted = {name: sum(getattr(row, name) for row in rows) for name in Row.__struct_fields__[6:]}
    stored, late, rejected = (some.get(key, 0) for some in (found.stored, found.late, found.rejected))
    unstored = counted["receipted"] - counted["repeated"] - stored - late - rejected
    first = min((row.since for row in rows), default=hour)
    last = max((row.until for row in rows), default=hour)
    span = (max(hour, min(first, hour + HOUR)), min(hour + HOUR, last))
    unconfirmed = _unconfirmed(rows, found.alive) - max(0, -unstored)
    known = stored + late + rejected + counted["repeated"] + counted["dropped"]
    uncounted = max(0, known - counted["sent"] - coming)
    causes = [
        _cause("device away", counted["away"], *span),
        _cause("breaker open", counted["resting"], *span),
        _cause("scan overran", counted["overran"], *span),
        _cause("dropped", counted["dropped"], *span),
        _cause("rejected", rejected, *span),
        _cause("not in the database", max(0, unstored), *span),
        _cause("unconfirmed", max(0, unconfirmed), *span),
        *_but(uncounted, down),
    ]
    causes = [one for one in causes if one["count"]]
    return {
        "device": device,
        "hour": times.text(hour),
        "until": times.text(last),
        "due": sum(row.due for row in rows) + sum(one["count"] for one in causes if one["estimated"]),
        "read": counted["read"],
        "suppressed": max(0, counted["read"] + counted["marked"] - counted["sent"]),
        "sent": counted["sent"],
        "receipted": counted["receipted"],
        "stored": stored,
        "duplicate": counted["repeated"],
        "late": late,
        "rejected": rejected,
        "uncounted": uncounted,
        "missing": sum(one["count"] for one in causes),
        "causes": causes,
    }


def _unconfirmed(rows: Sequence[Row], alive: Collection[str]) -> int:
    """Readings that were sent by runs that have ended, and of which nobody said that they arrived or were dropped."""
    ended = [row for row in rows if row.is_of_drops or _run(row) not in alive]
    return sum(row.sent - row.receipted - row.dropped for row in ended)


def _run(row: Row) -> str:
    return row.run[:RUN_LENGTH]


def _but(uncounted: int, down: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without what is stored of that time."""
    for one in down:
        stored = min(uncounted, one["count"])
        uncounted -= stored
        yield {**one, "count": one["count"] - stored}


def _cause(cause: str, count: int, start: datetime, stop: datetime, *, estimated: bool = False) -> dict[str, Any]:
    return {
        "cause": cause,
        "count": count,
        "estimated": estimated,
        "from": times.text(start),
        "to": times.text(max(start, stop)),
    }


def _unwatched(rows: Sequence[Row], now: datetime) -> list[tuple[datetime, datetime]]:
    """When no gateway counted the device, although it was in the files."""
    runs: dict[str, tuple[datetime, datetime, bool]] = {}
    for row in rows:
        if row.is_of_drops:
            continue
        since, until, ended = runs.get(_run(row), (row.since, row.until, False))
        runs[_run(row)] = (min(since, row.since), max(until, row.until), ended or row.ended)
    if not runs:
        return []
    gaps = []
    first, *others = sorted(runs.values())
    _, watched, ended = first
    for since, until, is_last in others:
        if since - watched > _LEAST_GAP and not ended:
            gaps.append((watched, since))
        if until >= watched:
            watched, ended = until, is_last
    if now - watched > SILENT and not ended:
        gaps.append((watched, now))
    return gaps


def _rate(rows: Sequence[Row]) -> float:
    """Readings due a second, while somebody counted them."""
    runs: dict[str, tuple[datetime, datetime]] = {}
    for row in rows:
        if row.is_of_drops:
            continue
        since, until = runs.get(_run(row), (row.since, row.until))
        runs[_run(row)] = (min(since, row.since), max(until, row.until))
    seconds = sum((until - since).total_seconds() for since, until in runs.values())
    return sum(row.due for row in rows) / seconds if seconds else 0.0


def _hours(start: datetime, stop: datetime) -> Iterable[datetime]:
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour < stop:
        yield hour
        hour += HOUR


def _within(gap: tuple[datetime, datetime], hour: datetime) -> tuple[datetime, datetime] | None:
    start, stop = max(gap[0], hour), min(gap[1], hour + HOUR)
    return (start, stop) if start < stop else None
