"""When the condition of an alarm holds."""

from math import inf, nan

import pytest

from nexus.alarms.condition import evaluator
from nexus.alarms.definition import (
    Above,
    AlarmDefinition,
    Bad,
    Below,
    Changed,
    Condition,
    Equals,
    Outside,
    Rate,
    Stale,
    Unchanged,
    When,
)
from nexus.alarms.expression import parse
from nexus.alarms.look import NOWHERE, Evaluator, Look, TagState
from nexus.alarms.timed import MOST_SAMPLES, RateWindow
from nexus.contract.reading import Quality, Reading, Value


class Tag:
    """A tag, and a condition that looks at it."""

    def __init__(self, condition: Condition, deadband: float = 0.0, before: Value = None) -> None:
        self.state = TagState()
        self.values: dict[str, Value] = {}
        definition = AlarmDefinition("high", "t", condition, deadband=deadband)
        self.evaluator: Evaluator = evaluator(definition, before)

    def at(self, now: int, value: Value, *, active: bool = False, quality: int = Quality.GOOD) -> bool | None:
        self.state.take(Reading("t", now, value, quality))
        if quality >= Quality.UNCERTAIN:
            self.state.seen = now
        return self.later(now, active=active)

    def later(self, now: int, *, active: bool = False) -> bool | None:
        return self.evaluator.holds(Look(self.state, self.values, active, now))


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Above(80), 80.1, True),
        (Above(80), 80, False),
        (Above(80), inf, True),
        (Below(10), 9.9, True),
        (Below(10), 10, False),
        (Outside(10, 80), 9, True),
        (Outside(10, 80), 81, True),
        (Outside(10, 80), 10, False),
        (Outside(10, 80), 80, False),
        (Above(0.5), True, True),
        (Above(0.5), False, False),
        (Equals(3), 3, True),
        (Equals(3), 3.0, True),
        (Equals(3), 4, False),
        (Equals(3), "3", False),
        (Equals(True), True, True),
        (Equals(True), False, False),
        (Equals("fault"), "fault", True),
        (Equals("fault"), "ok", False),
        (Above(80), nan, None),
        (Equals(3), nan, None),
        (Above(80), "hot", None),
        (Above(80), 10**400, None),
        (Above(80), None, None),
        (Bad(), 1.0, False),
    ],
)
def test_what_a_value_says(condition: Condition, value: Value, expected: bool | None) -> None:
    assert Tag(condition).at(0, value) is expected


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Above(80), 78.5, True),
        (Above(80), 78, False),
        (Below(10), 11.5, True),
        (Below(10), 12, False),
        (Outside(10, 80), 11, True),
        (Outside(10, 80), 79, True),
        (Outside(10, 80), 50, False),
    ],
)
def test_an_active_alarm_clears_beyond_its_deadband(condition: Condition, value: float, expected: bool) -> None:
    assert Tag(condition, deadband=2).at(0, value, active=True) is expected


@pytest.mark.parametrize(
    "condition",
    [Above(80), Below(10), Outside(10, 80), Equals(3), Changed(), Rate(5, 10), Unchanged(1)],
)
def test_a_bad_value_says_nothing(condition: Condition) -> None:
    tag = Tag(condition)
    tag.at(0, 50.0)

    assert tag.at(60_000, 100.0, quality=Quality.BAD) is None


def test_an_uncertain_value_counts() -> None:
    assert Tag(Above(80)).at(0, 90, quality=Quality.UNCERTAIN) is True


def test_bad_holds_for_a_bad_reading_only() -> None:
    tag = Tag(Bad())

    assert tag.later(0) is None
    assert tag.at(0, None, quality=Quality.BAD) is True
    assert tag.at(1, 1.0, quality=Quality.UNCERTAIN) is False


def test_a_limit_may_be_another_tags_value() -> None:
    tag = Tag(Above("setpoint"), deadband=1)

    assert tag.at(0, 50) is None
    tag.values["setpoint"] = 40
    assert (tag.later(0), tag.evaluator.limit) == (True, 40)
    tag.values["setpoint"] = 50.5
    assert tag.later(0) is False
    assert tag.later(0, active=True) is True
    tag.values["setpoint"] = "broken"
    assert tag.later(0) is None
    tag.values["setpoint"] = True
    assert (tag.later(0), repr(tag.evaluator.limit)) == (True, "1")


@pytest.mark.parametrize(("value", "limit"), [(9, 10), (81, 80)])
def test_the_limit_is_the_one_that_was_crossed(value: float, limit: float) -> None:
    tag = Tag(Outside(10, 80))
    tag.at(0, value)

    assert tag.evaluator.limit == limit


def test_a_change_is_news_for_a_second() -> None:
    tag = Tag(Changed())

    assert tag.at(0, "auto") is False
    assert tag.at(1000, "manual") is True
    assert tag.evaluator.due == 2000
    assert tag.later(1999) is True
    assert tag.later(2000) is False


def test_a_change_within_the_deadband_is_none() -> None:
    tag = Tag(Changed(), deadband=2)

    assert [tag.at(n * 1000, value) for n, value in enumerate([10, 12, 8, 12.5, 12.5])] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_a_slow_drift_is_a_change_once_it_is_beyond_the_deadband() -> None:
    tag = Tag(Changed(), deadband=2)

    assert [tag.at(n * 1000, n) for n in range(5)] == [False, False, False, True, False]


def test_unchanged_holds_after_its_time_without_a_reading() -> None:
    tag = Tag(Unchanged(5), deadband=1)

    assert tag.at(0, 10) is False
    assert tag.at(3000, 11) is False
    assert tag.evaluator.due == 5000
    assert tag.later(5000) is True
    assert tag.at(6000, 9) is True
    assert tag.at(7000, 12) is False
    assert tag.evaluator.due == 12_000


def test_unchanged_goes_on_after_a_restart() -> None:
    assert Tag(Unchanged(5), before=10).at(100_000, 10, active=True) is True
    assert Tag(Unchanged(5), before=10).at(100_000, 11, active=True) is False


def test_stale_counts_from_the_last_value_that_is_not_bad() -> None:
    tag = Tag(Stale(30))
    tag.state.seen = 1000

    assert tag.later(2000) is False
    assert tag.evaluator.due == 31_000
    assert tag.at(20_000, None, quality=Quality.BAD) is False
    assert tag.later(31_000) is True
    assert tag.at(32_000, 1) is False


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rate_is_known_once_its_window_is_full(sign: int) -> None:
    tag = Tag(Rate(5, 10))

    early = [tag.at(n * 1000, sign * n * 6.0) for n in range(10)]

    assert early == [None] * 10
    assert tag.at(10_000, sign * 60.0) is True
    assert tag.at(11_000, sign * 20.0) is False


def test_a_rate_clears_beyond_its_deadband() -> None:
    tag = Tag(Rate(5, 1), deadband=1)
    tag.at(0, 0)

    assert tag.at(1000, 4.5, active=True) is True
    assert tag.at(2000, 8.0, active=True) is False


def test_a_step_ends_a_rate_when_it_leaves_the_window() -> None:
    tag = Tag(Rate(5, 10))

    found = [tag.at(n * 1000, 0.0 if n < 15 else 100.0) for n in range(30)]

    assert found[10:15] == [False] * 5
    assert found[15:25] == [True] * 10
    assert found[25:] == [False] * 5


def test_a_scan_slower_than_the_window_compares_with_the_one_before() -> None:
    tag = Tag(Rate(5, 1))
    tag.at(0, 0)

    assert tag.at(60_000, 301) is True
    assert tag.at(120_000, 600) is False


def test_a_window_is_bounded_however_fast_the_scans_are() -> None:
    tag = Tag(Rate(5, 3600))
    for n in range(20_000):
        tag.at(n * 1000, float(n))

    assert isinstance(tag.evaluator, RateWindow)
    assert len(tag.evaluator) <= MOST_SAMPLES + 2


def test_an_expression_holds_when_it_is_true() -> None:
    tag = Tag(When(parse("a > b and running")))

    assert tag.later(0) is None
    tag.values.update(a=2, b=1, running=True)
    assert tag.later(0) is True
    tag.values["running"] = False
    assert tag.later(0) is False


def test_what_cannot_be_evaluated_says_why_and_nothing_else() -> None:
    tag = Tag(When(parse("a / b > 1")))
    tag.values.update(a=2, b=0)

    assert tag.later(0) is None
    assert "zero" in tag.evaluator.error
    tag.values["b"] = 1
    assert tag.later(0) is True
    assert not tag.evaluator.error


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize(
    "condition",
    [
        Above(80),
        Below(10),
        Outside(10, 80),
        Equals(20),
        Equals("a"),
        Changed(),
        Unchanged(5),
        Rate(5, 1),
        Bad(),
        Stale(5),
    ],
)
def test_all_values_of_a_band_say_the_same(condition: Condition, active: bool) -> None:
    values = [7.5, 8, 9.5, 10, 12, 12.5, 19, 20, 21, 50, 77.5, 78, 79, 80, 82]
    for first in values:
        tag = Tag(condition, deadband=2)
        answer = tag.at(1000, first, active=active)
        low, high = tag.evaluator.bands[active]
        assert low <= first <= high or (low, high) == NOWHERE
        for value in values:
            if low <= value <= high:
                assert tag.at(1000, value, active=active) is answer
