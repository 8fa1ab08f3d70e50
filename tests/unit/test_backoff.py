"""Pauses between tries grow, are spread, and begin anew after something has lasted."""

import pytest

from nexus.process.backoff import FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS, Backoff, delay


@pytest.mark.parametrize(("tries", "least", "most"), [(1, 5.0, 7.5), (2, 10.0, 15.0), (4, 40.0, 60.0)])
def test_each_pause_is_twice_as_long_and_spread_by_half_of_it(tries: int, least: float, most: float) -> None:
    pauses = [delay(tries, 5.0, 120.0) for _ in range(200)]
    assert least <= min(pauses) < max(pauses) <= most


@pytest.mark.parametrize("tries", [6, 10_000])
def test_the_longest_pauses_are_spread_too(tries: int) -> None:
    pauses = [delay(tries, 5.0, 120.0) for _ in range(200)]
    assert 80.0 <= min(pauses) < max(pauses) <= 120.0


def test_no_pause_is_shorter_than_the_first() -> None:
    assert delay(7, 30.0, 30.0) == 30.0


def test_what_ran_for_long_starts_again_with_the_first_pause() -> None:
    backoff = Backoff()
    assert LONGEST_SECONDS / 1.5 <= [backoff.pause(0.0) for _ in range(20)][-1] <= LONGEST_SECONDS
    assert backoff.pause(STABLE_SECONDS + 1) <= FIRST_SECONDS * 1.5
