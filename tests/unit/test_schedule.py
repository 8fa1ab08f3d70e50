"""The drift-free grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.polling.schedule import Schedule


def test_ticks_stay_on_the_grid_however_late_they_are_taken() -> None:
    schedule = Schedule([("a", 1.0)], now=0.0, phase=0.0)
    taken = []
    for now in (0.0, 1.4, 2.01, 3.9):
        tick = schedule.take(now)
        taken.append((tick.items, round(tick.lateness, 6), tick.missed))
    assert taken == [(("a",), 0.0, 0), (("a",), 0.4, 0), (("a",), 0.01, 0), (("a",), 0.9, 0)]
    assert schedule.next_due == 4.0


def test_an_overrun_skips_what_it_missed_and_counts_it() -> None:
    schedule = Schedule([("a", 1.0)], now=0.0, phase=0.0)
    schedule.take(0.0)
    tick = schedule.take(3.5)
    assert (tick.missed, schedule.next_due) == (2, 4.0)
    assert tick.lateness == pytest.approx(0.5)


def test_intervals_are_grids_of_their_own() -> None:
    schedule = Schedule([("fast", 0.5), ("slow", 1.0)], now=0.0, phase=0.0)
    assert schedule.take(0.0).items == ("fast", "slow")
    assert schedule.take(0.5).items == ("fast",)
    assert schedule.take(1.0).items == ("fast", "slow")


def test_nothing_is_due_before_its_time() -> None:
    schedule = Schedule([("a", 1.0)], now=10.0, phase=0.5)
    assert schedule.next_due == 10.5
    assert schedule.take(10.2).items == ()


@given(st.floats(0.1, 60), st.lists(st.floats(0, 200), min_size=1), st.floats(0, 0.999))
def test_no_tick_is_lost_or_taken_twice(interval: float, moments: list[float], phase: float) -> None:
    schedule = Schedule([("a", interval)], now=0.0, phase=phase)
    last = max(moments)
    counted = sum(
        (tick.missed + 1) if tick.items else 0 for tick in (schedule.take(moment) for moment in sorted(moments))
    )
    passed = 0 if last < phase * interval else (last - phase * interval) / interval
    assert abs(counted - passed) <= 1.001
    assert schedule.next_due > last - 1e-6
