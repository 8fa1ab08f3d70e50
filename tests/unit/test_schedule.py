"""The drift-free grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.polling.schedule import FIRST_SECONDS, Schedule, Spread, slot

SLOT, MANY = 1 / 64, 1_000_000


def test_ticks_stay_on_the_grid_however_late_they_are_taken() -> None:
    schedule = Schedule([("a", 1.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    taken = []
    for now in (0.0, 1.4, 2.01, 3.9):
        tick = schedule.take(now)
        taken.append((tick.items, round(tick.lateness, 6), tick.missed))
    assert taken == [(("a",), 0.0, 0), (("a",), 0.4, 0), (("a",), 0.01, 0), (("a",), 0.9, 0)]
    assert schedule.next_due == 4.0


def test_an_overrun_skips_what_it_missed_and_counts_it() -> None:
    schedule = Schedule([("a", 1.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    schedule.take(0.0)
    tick = schedule.take(3.5)
    assert (tick.missed, schedule.next_due) == (2, 4.0)
    assert tick.lateness == pytest.approx(0.5)


def test_intervals_are_grids_of_their_own() -> None:
    schedule = Schedule([("fast", 0.5), ("slow", 1.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    assert schedule.take(0.0).items == ("fast", "slow")
    assert schedule.take(0.5).items == ("fast",)
    assert schedule.take(1.0).items == ("fast", "slow")


def test_nothing_is_due_before_its_time() -> None:
    schedule = Schedule([("a", 1.0)], now=10.0, spread=Spread(0.5, SLOT, MANY))
    assert schedule.next_due == 10.5
    assert schedule.take(10.2).items == ()


def test_everything_is_read_soon_however_long_its_interval_and_devices_stay_spread_over_theirs() -> None:
    schedules = [Schedule([("a", 3600.0)], now=100.0, spread=Spread(phase, SLOT, MANY)) for phase in (0.25, 0.75)]
    firsts = [schedule.next_due - 100.0 for schedule in schedules]
    assert firsts == [0.25 * FIRST_SECONDS, 0.75 * FIRST_SECONDS]
    for schedule in schedules:
        assert schedule.take(schedule.next_due).items == ("a",)
    assert [schedule.next_due for schedule in schedules] == [1000.0, 2800.0]


def test_what_was_not_read_is_due_again_before_its_next_tick_and_stays_on_the_grid() -> None:
    schedule = Schedule([("a", 3600.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    schedule.take(0.0)
    schedule.put_back(6.0)
    assert (schedule.next_due, schedule.take(5.9).items) == (6.0, ())
    tick = schedule.take(6.5)
    assert (tick.items, tick.lateness, tick.missed, schedule.next_due) == (("a",), 0.0, 0, 3600.0)


def test_what_is_put_back_is_read_once_if_its_tick_comes_first() -> None:
    schedule = Schedule([("fast", 1.0), ("slow", 60.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    schedule.take(0.0)
    schedule.put_back(5.5)
    assert [schedule.take(float(second)).items for second in range(1, 6)] == [("fast",)] * 5
    assert schedule.next_due == 5.5
    assert [schedule.take(moment).items for moment in (5.5, 6.0)] == [("slow",), ("fast",)]


def test_only_what_was_taken_last_is_put_back_or_everything() -> None:
    schedule = Schedule([("fast", 10.0), ("slow", 60.0)], now=0.0, spread=Spread(0.0, SLOT, MANY))
    schedule.take(0.0)
    schedule.take(10.0)
    schedule.put_back(12.0)
    assert schedule.take(12.0).items == ("fast",)
    schedule.put_back(14.0, everything=True)
    assert schedule.take(14.0).items == ("fast", "slow")


@given(st.floats(0.1, 60), st.lists(st.floats(0, 200), min_size=1), st.floats(0, 0.999))
def test_no_tick_is_lost_or_taken_twice(interval: float, moments: list[float], phase: float) -> None:
    schedule = Schedule([("a", interval)], now=0.0, spread=Spread(phase, SLOT, MANY))
    last = max(moments)
    if interval > FIRST_SECONDS:
        schedule.take(schedule.next_due)  # the first one, apart from the grid
    counted = sum(
        (tick.missed + 1) if tick.items else 0 for tick in (schedule.take(moment) for moment in sorted(moments))
    )
    first = Spread(phase, SLOT, MANY).first(0.0, interval)
    passed = 0 if last < first else (last - first) / interval
    assert abs(counted - passed) <= 1.001
    assert schedule.next_due > last - 1e-6


@given(st.floats(0, 1e7), st.floats(0, 0.999), st.integers(5, 50).map(lambda slots: slots / 50), st.integers(1, 10**6))
def test_ticks_stay_in_the_slots_that_they_begin_in(now: float, phase: float, interval: float, ticks: int) -> None:
    schedule = Schedule([("a", interval)], now=now, spread=Spread(phase, 0.02, MANY))
    first = slot(schedule.next_due, 0.02)
    schedule.take(now + ticks * interval)
    assert (slot(schedule.next_due, 0.02) - first) % round(interval / 0.02) == 0


def test_a_slot_begins_at_a_moment_or_after_it() -> None:
    assert [slot(moment, 0.02) for moment in (1.0, 1.0 + 1e-9, 1.001, 1.0199, 1.02)] == [50, 50, 51, 51, 51]


@given(st.floats(0, 1e6), st.floats(0, 0.999), st.floats(0.1, 100), st.integers(1, 100))
def test_a_device_begins_within_its_interval_on_one_of_so_many_moments(
    now: float, phase: float, interval: float, moments: int
) -> None:
    first = Spread(phase, 0.02, moments).first(now, interval)
    assert now - 1e-5 <= first <= now + interval + 1e-5
    firsts = {round(Spread(step / 1000, 0.02, moments).first(now, interval), 6) for step in range(1000)}
    # An interval that is no multiple of their distance may have more.
    assert min(moments, int(interval / 0.02)) <= len(firsts) <= 2 * moments


def test_devices_begin_together_only_where_there_are_many() -> None:
    firsts = [Spread(step / 100, 0.02, 10).first(0.0, 1.0) for step in range(100)]
    assert [round(first, 6) for first in firsts] == [step // 10 / 10 for step in range(100)]
