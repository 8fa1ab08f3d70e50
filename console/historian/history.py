"""The history of a tag: its readings where they are few, else what they were in buckets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from console.historian import gaps, queries, times
from console.historian.buckets import Buckets, Kept, Source, choose
from console.historian.values import plain, quality_name

LARGEST_SCAN = 5_000_000  # readings that one request may have the database read: a few seconds' work
_FEWEST = 1_000  # that tell how close they are

Point = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Of which range how much, in whose days; `now` is when it was asked for."""

    start: datetime
    end: datetime
    points: int
    zone: ZoneInfo
    now: datetime


@dataclass(frozen=True)
class Series:
    """What was found of one tag; `readings` is about how many were read for it, if not from a rollup."""

    topic: str
    resolution: str
    points: list[Point]
    gaps: list[gaps.Gap]
    readings: int


class TooMuchError(Exception):
    """More would have to be read than one request may."""

    def __init__(self, topic: str, readings: int, seconds: float) -> None:
        super().__init__(f"{topic}: {readings} readings")
        self.topic, self.readings, self.seconds = topic, readings, seconds


async def read(connection: AsyncConnection, topic: str, wanted: Wanted, kept: Kept, budget: int) -> Series:
    """One tag's history. Raises TooMuchError if more than `budget` rows would be read; psycopg.Error."""
    buckets = choose(wanted.start, wanted.end, wanted.points, wanted.zone, kept)
    if buckets.source is not Source.raw:  # a rollup tells in no time how many readings there are
        rolled_up = await _buckets(connection, topic, wanted, buckets)
        if sum(point["count"] for point in rolled_up.points) > wanted.points or not kept.has(Source.raw, wanted.start):
            return rolled_up
    rows = await _raw(connection, topic, wanted)
    if len(rows) <= wanted.points:
        return _readings(topic, wanted, rows)
    if (readings := _about(rows, wanted, buckets)) > budget:
        raise TooMuchError(topic, readings, (wanted.end - wanted.start).total_seconds() * budget / readings)
    return await _buckets(connection, topic, wanted, replace(buckets, source=Source.raw), readings)


async def _raw(connection: AsyncConnection, topic: str, wanted: Wanted) -> Sequence[tuple[Any, ...]]:
    """The first readings, more than are wanted if there are so many."""
    limit = max(wanted.points, _FEWEST) + 1
    asked = {"topic": topic, "start": wanted.start, "end": wanted.end, "limit": limit}
    return await (await connection.execute(queries.RAW, asked, binary=True)).fetchall()


def _readings(topic: str, wanted: Wanted, rows: Sequence[tuple[Any, ...]]) -> Series:
    found = [
        {"time": times.text(time), "value": plain(value, text), "quality": quality_name(quality)}
        for time, value, text, quality in rows
    ]
    at = [time.replace(tzinfo=UTC) for time, *_ in rows]
    silent = gaps.between(at, wanted.start, min(wanted.end, wanted.now))
    return Series(topic, "raw", found, silent, len(rows))


def _about(rows: Sequence[tuple[Any, ...]], wanted: Wanted, buckets: Buckets) -> int:
    """How many readings there are in all, by how close the first ones are."""
    if len(rows) <= max(wanted.points, _FEWEST):
        return len(rows)
    seen = max((rows[-1][0].replace(tzinfo=UTC) - wanted.start).total_seconds(), 1e-3)
    return int(len(rows) / seen * (buckets.edges[-1] - buckets.edges[0]).total_seconds())


async def _buckets(
    connection: AsyncConnection, topic: str, wanted: Wanted, buckets: Buckets, readings: int = 0
) -> Series:
    edges = buckets.edges
    asked = {"topic": topic, "start": edges[0], "end": edges[-1], "edges": edges}
    rows = await (await connection.execute(queries.BUCKETS[buckets.source.value], asked, binary=True)).fetchall()
    starts = [times.text(edge) for edge in edges]
    found = list(_points(starts, rows))
    end = min(wanted.end, wanted.now)
    silent = gaps.empty(edges, [row[0] for row in rows], wanted.start, end)
    return Series(topic, buckets.resolution, found, silent, readings)


def _points(starts: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Iterator[Point]:
    for number, least, most, mean, first, last, count, good, quality in rows:
        yield {
            "time": starts[number],
            "min": least,
            "max": most,
            "avg": mean,
            "first": first,
            "last": last,
            "count": count,
            "good": good,
            "quality": quality_name(quality),
        }


async def newest(
    connection: AsyncConnection, topic: str, start: datetime, end: datetime, limit: int
) -> list[dict[str, Any]]:
    """The newest readings of a range, oldest first. Raises psycopg.Error."""
    asked = {"topic": topic, "start": start, "end": end, "limit": limit}
    rows = await (await connection.execute(queries.NEWEST, asked, binary=True)).fetchall()
    return [
        {
            "time": times.text(time),
            "topic": topic,
            "value": plain(value, text),
            "quality": quality_name(quality),
            "unit": unit,
        }
        for time, value, text, quality, unit in reversed(rows)
    ]
