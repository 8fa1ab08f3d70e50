"""What is said of the completeness of devices and hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

from console.historian.completeness import HOUR, Found, Row, items

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
NOTHING = Found({}, {}, {})


def row(start: int = 0, stop: int = 60, run: str = RUN, hour: int = 0, *, ended: bool = False, **counts: int) -> Row:
    """Counted from minute `start` to minute `stop` of an hour."""
    time = AT + hour * HOUR
    names = ("read", "marked", "sent", "repeated", "receipted", "dropped", "away", "resting", "overran")
    numbers = {name: counts.get(name, 0) for name in names}
    since, until = (time + timedelta(minutes=minute) for minute in (start, stop))
    return Row("a", time, f"{run}1", since, until, ended, **numbers)


def told(rows: list[Row], found: Found = NOTHING, now: datetime = AT + HOUR) -> list[dict[str, Any]]:
    return items(rows, found, AT - 24 * HOUR, AT + 24 * HOUR, now)


def causes(item: dict[str, Any]) -> dict[str, int]:
    return {one["cause"]: one["count"] for one in item["causes"]}


def test_an_hour_in_which_all_is_there_misses_nothing() -> None:
    [item] = told(
        [row(read=100, sent=80, receipted=80, repeated=2)], Found({("a", AT): 70}, {("a", AT): 5}, {("a", AT): 3})
    )
    assert item["hour"] == "2026-11-26T12:00:00.000Z"
    figures = ("due", "read", "suppressed", "sent", "receipted", "stored", "duplicate", "late", "rejected", "missing")
    assert [item[name] for name in figures] == [100, 100, 20, 80, 80, 70, 2, 5, 3, 3]
    assert causes(item) == {"rejected": 3}


def test_each_gap_has_its_cause() -> None:
    counted = row(read=50, marked=3, sent=53, receipted=50, dropped=2, away=10, resting=20, overran=5)
    [item] = told([counted], Found({("a", AT): 46}, {}, {}, {RUN}))
    assert causes(item) == {
        "device away": 10,
        "breaker open": 20,
        "scan overran": 5,
        "dropped": 2,
        "not in the database": 4,
    }
    assert (item["due"], item["suppressed"], item["missing"]) == (85, 0, 41)


def test_what_is_on_its_way_is_not_missing() -> None:
    [item] = told([row(read=50, sent=50, receipted=20)], Found({("a", AT): 25}, {}, {}, {RUN}))
    assert item["missing"] == 0


def test_what_a_run_had_sent_that_ended_without_its_receipts_is_unconfirmed() -> None:
    sent = row(read=50, sent=50, receipted=20)
    [item] = told([sent], Found({("a", AT): 25}, {}, {}))
    assert (causes(item), item["missing"]) == ({"unconfirmed": 25}, 25)
    [item] = told([sent], Found({("a", AT): 50}, {}, {}))
    assert item["missing"] == 0


def test_what_a_killed_gateway_had_not_counted_is_uncounted_once_nobody_counts_any_more() -> None:
    rows, found = [row(0, 59, read=50, sent=50, receipted=20)], {("a", AT): 51}
    [item] = told(rows, Found(found, {}, {}))
    assert (item["uncounted"], item["missing"]) == (1, 0)
    [item] = told(rows, Found(found, {}, {}, {RUN}))
    assert item["uncounted"] == 0, "its next word counts them"


def test_what_is_stored_of_the_time_in_which_nobody_counted_is_not_missing() -> None:
    rows = [row(0, 20, read=1200, sent=1200, receipted=1200), row(30, 60, OTHER, read=1800, sent=1800, receipted=1800)]
    [item] = told(rows, Found({("a", AT): 3400}, {}, {}))
    assert (causes(item), item["uncounted"]) == ({"gateway down": 200}, 400)
    assert (item["due"], item["until"]) == (3200, "2026-11-26T13:00:00.000Z")


def test_what_is_dropped_of_an_earlier_run_is_dropped_once() -> None:
    rows = [row(0, 20, read=50, sent=50, receipted=20), row(40, 40, OTHER, dropped=30)]
    [item] = told(rows, Found({("a", AT): 20}, {}, {}))
    assert causes(item) == {"dropped": 30, "gateway down": 100}, "nobody watched, whoever dropped them"


def test_counts_of_several_runs_add_up_and_the_time_between_them_is_that_of_a_gateway_that_was_down() -> None:
    rows = [row(0, 20, read=1200), row(30, 60, OTHER, read=1800)]
    [item] = told(rows)
    assert (item["read"], causes(item)) == (3000, {"gateway down": 600})
    [gap] = item["causes"]
    assert (gap["from"], gap["to"]) == ("2026-11-26T12:20:00.000Z", "2026-11-26T12:30:00.000Z")


def test_a_device_that_moves_from_gateway_to_gateway_was_watched_all_the_time() -> None:
    assert causes(told([row(0, 30, read=10), row(29, 60, OTHER, read=10)])[0]) == {}


def test_hours_that_nobody_counted_are_told_too() -> None:
    found = told([row(0, 60, read=3600), row(0, 60, OTHER, hour=3, read=3600)], now=AT + 4 * HOUR)
    assert [(one["hour"][11:13], causes(one)) for one in found] == [
        ("12", {}),
        ("13", {"gateway down": 3600}),
        ("14", {"gateway down": 3600}),
        ("15", {}),
    ]


def test_who_has_not_counted_lately_is_down_unless_the_device_left_the_files() -> None:
    assert causes(told([row(0, 58, read=10)])[0]) == {}
    assert list(causes(told([row(0, 50, read=10)])[0])) == ["gateway down"]
    assert causes(told([row(0, 50, ended=True, read=10)])[0]) == {}
