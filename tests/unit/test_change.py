"""Report by exception."""

import math

import pytest

from gateway.polling.gap import Gap
from nexus.contract.reading import Quality, Reading, Value
from nexus.readings.report import Changes, Report


def sent(report: Report, values: list[Value], step: int = 1000) -> list[Value]:
    """What is sent of readings that are `step` ms apart."""
    changes = Changes({"t": report})
    readings = [Reading("t", number * step, value) for number, value in enumerate(values)]
    return [reading.value for reading in changes.worth_sending(readings)]


@pytest.mark.parametrize(
    ("report", "values", "expected"),
    [
        (Report(), [1, 1, 2, 2, 1], [1, 2, 1]),
        (Report(), [True, True, False], [True, False]),
        (Report(), ["a", "a", "b", None, None], ["a", "b", None]),
        (Report(), [math.nan, math.nan, 1.0], [math.nan, 1.0]),
        (Report(deadband=0.5), [1.0, 1.4, 1.5, 1.51, 1.2, 1.0], [1.0, 1.51, 1.0]),
        (Report(deadband=0.1, relative=True), [100.0, 109.0, 111.0, 100.0, 99.0], [100.0, 111.0, 99.0]),
        (Report(deadband=0.1, relative=True), [0.0, 0.001, 0.0], [0.0, 0.001, 0.0]),
        (Report(deadband=5), [False, True, True, False], [False, True, False]),
        (Report(deadband=0.5, relative=True), [True, False, False, True], [True, False, True]),
        (Report(deadband=5), [True, 0, 1, 7], [True, 0, 7]),
        (Report(deadband=5, max_silence=3), [1, 1, 1, 1, 1, 1, 1], [1, 1, 1]),
    ],
)
def test_only_news_is_sent(report: Report, values: list[Value], expected: list[Value]) -> None:
    assert str(sent(report, values)) == str(expected)


def test_a_slow_drift_is_seen_in_the_end() -> None:
    assert sent(Report(deadband=1), [number * 0.4 for number in range(10)]) == [
        0.0,
        pytest.approx(1.2),
        pytest.approx(2.4),
        pytest.approx(3.6),
    ]


def test_a_change_of_quality_is_news() -> None:
    changes = Changes({"t": Report(deadband=10)})
    readings = [
        Reading("t", 0, 1.0),
        Reading("t", 1, None, Quality.BAD),
        Reading("t", 2, None, Quality.BAD),
        Reading("t", 3, 1.0),
    ]
    assert [reading.time for reading in changes.worth_sending(readings)] == [0, 1, 3]


def test_tags_without_a_report_are_always_sent() -> None:
    changes = Changes({"other": Report()})
    assert len(changes.worth_sending([Reading("t", 0, 1), Reading("t", 1, 1)])) == 2


def test_silent_tags_are_named_once_their_time_is_over() -> None:
    changes = Changes({"a": Report(max_silence=2), "b": Report(), "c": Report(max_silence=60)})
    changes.worth_sending([Reading("a", 1000, 1), Reading("b", 1000, 1), Reading("c", 1000, 1)])
    assert changes.silent(2999) == []
    assert changes.silent(3000) == ["a"]


def test_a_gap_lies_between_what_was_heard_before_and_after_whatever_the_clock() -> None:
    gap = Gap()
    gap.after([Reading("ahead", 9_000, 1.0), Reading("still", 1_000, 2.0)])
    assert gap.begin(5_000, ["ahead", "still", "new"]) == {"ahead": 9_001, "still": 5_000, "new": 5_000}
    # The first of each tag is after the gap; the following ones keep their times.
    assert [r.time for r in gap.after([Reading("still", 1_000, 2.0), Reading("ahead", 9_500, 1.0)])] == [5_001, 9_500]
    assert [r.time for r in gap.after([Reading("still", 4_000, 3.0), Reading("new", 6_000, 3.0)])] == [4_000, 6_000]


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    changes = Changes({"a": Report(max_silence=10)})
    changes.worth_sending([Reading("a", 1_000_000, 1.0)])
    assert changes.silent(995_000) == []
    assert changes.silent(500_000) == ["a"]
    moments = [500_000, 505_000, 510_000]
    assert [one.time for at in moments for one in changes.worth_sending([Reading("a", at, 1.0)])] == [500_000, 510_000]
