"""Closed, open, half-open."""

from gateway.polling.breaker import Breaker, State


def breaker(failures: int = 3) -> Breaker:
    return Breaker(failures, delay=lambda opening: 5.0 * opening)


def opened(now: float = 0.0) -> Breaker:
    one = breaker()
    for _ in range(3):
        one.fail(now)
    return one


def test_opens_after_failures_in_a_row() -> None:
    one = breaker()
    assert [one.fail(0.0) for _ in range(3)] == [False, False, True]
    assert one.state is State.OPEN


def test_a_success_between_starts_the_count_afresh() -> None:
    one = breaker()
    one.fail(0.0)
    one.fail(0.0)
    assert one.succeed() is False
    one.fail(0.0)
    one.fail(0.0)
    assert one.state is State.CLOSED


def test_open_breaker_allows_nothing_before_its_delay() -> None:
    one = opened(now=10.0)
    assert not one.may_try(14.9)
    assert one.state is State.OPEN


def test_open_breaker_probes_after_its_delay() -> None:
    one = opened()
    assert one.may_try(5.0)
    assert one.state is State.HALF_OPEN


def test_a_failed_probe_opens_it_for_longer_and_is_no_news() -> None:
    one = opened()
    one.may_try(5.0)
    assert one.fail(5.0) is False
    assert (one.state, one.until) == (State.OPEN, 15.0)


def test_a_good_probe_closes_it_and_forgets_the_delays() -> None:
    one = opened()
    one.may_try(5.0)
    assert one.succeed() is True
    assert (one.state, one.openings, one.failed) == (State.CLOSED, 0, 0)


def test_who_has_to_wait_for_its_turn_is_tried_then_and_has_not_failed() -> None:
    breaker = Breaker(1, lambda opening: 10.0 * opening)
    assert not breaker.waits(0.0, 5.0)
    breaker.fail(0.0)
    assert breaker.waits(0.0, 3.0)
    assert not breaker.may_try(2.9)
    assert breaker.may_try(3.0)
    breaker.fail(3.0)
    assert breaker.until == 23.0
