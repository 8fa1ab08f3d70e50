"""Where readings are missing."""

from datetime import UTC, datetime, timedelta

from console.historian import gaps

START = datetime(2026, 11, 26, 12, tzinfo=UTC)


def at(*seconds: float) -> list[datetime]:
    return [START + timedelta(seconds=one) for one in seconds]


def test_a_silence_that_is_long_beside_the_usual_one_is_a_gap() -> None:
    times = at(*range(20), *range(60, 80))
    assert gaps.between(times, START, times[-1]) == [tuple(at(19, 60))]


def test_a_range_that_begins_or_ends_without_readings_has_gaps_there() -> None:
    times = at(*range(100, 120))
    assert gaps.between(times, START, START + timedelta(seconds=200)) == [tuple(at(0, 100)), tuple(at(119, 200))]


def test_a_tag_that_reports_when_it_changes_has_no_gap_between_its_usual_silences() -> None:
    times = at(0, 1, 2, 60, 61, 150, 151, 152, 240, 300, 301, 302, 390)
    assert gaps.between(times, START, times[-1]) == []


def test_a_range_without_a_reading_is_one_gap() -> None:
    end = START + timedelta(hours=1)
    assert gaps.between([], START, end) == [(START, end)]
    assert gaps.empty(at(0, 60), [], START, end) == [(START, end)]


def test_few_readings_say_nothing_about_what_is_usual() -> None:
    assert gaps.between(at(0, 1, 3_000), START, START + timedelta(hours=1)) == []


def test_empty_buckets_are_gaps_within_the_range() -> None:
    edges = at(0, 60, 120, 180, 240, 300)
    found = gaps.empty(edges, [0, 1, 4], START, START + timedelta(seconds=290))
    assert found == [tuple(at(120, 240))]
    assert gaps.empty(edges, [2, 3], START + timedelta(seconds=30), START + timedelta(seconds=250)) == [
        tuple(at(30, 120)),
        tuple(at(240, 250)),
    ]


def test_where_most_buckets_are_empty_an_empty_one_is_usual() -> None:
    edges = at(*range(0, 6000, 60))
    assert gaps.empty(edges, [0, 20, 50, 90], START, edges[-1]) == []


def test_an_outage_shows_however_long_it_is() -> None:
    edges = at(*(60 * number for number in range(101)))
    for filled in ([*range(20), *range(80, 100)], [*range(5), *range(95, 100)], [*range(10)]):
        [(first, after)] = gaps.empty(edges, filled, START, edges[-1])
        assert (after - first).total_seconds() == (100 - len(filled)) * 60


def test_among_empty_buckets_that_are_usual_a_long_silence_shows() -> None:
    edges = at(*(60 * number for number in range(201)))
    every_third = [*range(0, 90, 3), *range(150, 200, 3)]
    assert gaps.empty(edges, every_third, START, edges[-1]) == [(edges[88], edges[150])]
