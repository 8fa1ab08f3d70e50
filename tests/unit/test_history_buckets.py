"""Which buckets a range is shown in, and what they are made from."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.historian.buckets import Buckets, Kept, Source, choose

BERLIN, CALCUTTA, LONDON = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("UTC")
NOW = datetime(2026, 11, 26, 12, 34, 56, tzinfo=UTC)
ALL = Kept(True, "Europe/Berlin", {})


def last(span: timedelta, points: int = 1_000, zone: ZoneInfo = LONDON, kept: Kept = ALL) -> Buckets:
    return choose(NOW - span, NOW, points, zone, kept)


@pytest.mark.parametrize(
    ("span", "resolution", "source"),
    [
        (timedelta(minutes=1), "100ms", Source.raw),
        (timedelta(hours=1), "4s", Source.raw),
        (timedelta(hours=12), "1min", Source.minutes),
        (timedelta(days=1), "2min", Source.minutes),
        (timedelta(days=30), "1hour", Source.hours),
        (timedelta(days=365), "12hour", Source.hours),
        (timedelta(days=3650), "4day", Source.hours),
    ],
)
def test_the_longer_the_range_the_coarser_its_source(span: timedelta, resolution: str, source: Source) -> None:
    found = last(span)
    assert (found.resolution, found.source) == (resolution, source)


def test_days_of_the_plant_come_from_the_daily_rollup_and_those_of_others_from_hours() -> None:
    assert last(timedelta(days=900), zone=BERLIN).source is Source.days
    assert last(timedelta(days=900), zone=LONDON).source is Source.hours


def test_days_where_hours_do_not_begin_with_those_of_utc_come_from_minutes() -> None:
    assert last(timedelta(days=900), zone=CALCUTTA).source is Source.minutes


def test_local_days_are_as_long_as_the_clock_makes_them() -> None:
    found = choose(datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC), 5, BERLIN, ALL)
    hours = [
        (after - before).total_seconds() / 3_600 for before, after in zip(found.edges, found.edges[1:], strict=False)
    ]
    assert hours == [24, 24, 23, 24, 24]
    assert found.edges[0] == datetime(2026, 3, 26, 23, tzinfo=UTC)


def test_without_rollups_all_comes_from_the_readings() -> None:
    assert last(timedelta(days=365), kept=Kept(False, "UTC", {})).source is Source.raw


def test_what_is_dropped_is_not_asked_for() -> None:
    kept = Kept(True, "UTC", {Source.raw: NOW - timedelta(days=90), Source.minutes: NOW - timedelta(days=365)})
    old = NOW - timedelta(days=100)
    found = choose(old, old + timedelta(minutes=10), 1_000, LONDON, kept)
    assert (found.source, found.resolution) == (Source.minutes, "1min")
    older = NOW - timedelta(days=400)
    found = choose(older, older + timedelta(minutes=10), 1_000, LONDON, kept)
    assert (found.source, found.resolution) == (Source.hours, "1hour")


@given(
    start=st.datetimes(datetime(1970, 1, 2), datetime(2900, 1, 1), timezones=st.just(UTC)),
    seconds=st.floats(0.001, 30 * 366 * 86_400),
    points=st.integers(1, 10_000),
    zone=st.sampled_from([BERLIN, CALCUTTA, LONDON]),
)
def test_buckets_hold_the_range_whole_and_are_no_more_than_wanted(
    start: datetime, seconds: float, points: int, zone: ZoneInfo
) -> None:
    end = start + timedelta(seconds=seconds)
    found = choose(start, end, points, zone, ALL)
    assert found.edges[0] <= start < found.edges[1]
    assert found.edges[-2] < end <= found.edges[-1]
    assert found.edges == sorted(set(found.edges))
    assert len(found.edges) - 1 <= points + 2
