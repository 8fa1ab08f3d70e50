"""Silent units of a shared line get a bounded share of its time, and one lost answer makes no unit silent."""

from heapq import heappop, heappush
from itertools import pairwise

import pytest

from gateway.drivers.modbus.turns import SHARE, SHORTEST_PATIENCE, Turns
from gateway.polling.breaker import Breaker


def test_a_unit_that_answered_is_not_silent_for_one_lost_answer() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    turns.missed(1, now=10.0, cost=3.0)
    assert turns.rest(1, 10.0) == 0
    turns.answered(2, 0.01)
    turns.missed(1, now=13.0, cost=3.0)
    assert turns.rest(1, 13.0) > 0
    turns.answered(1, 0.01)
    assert turns.rest(1, 13.0) == 0


def test_silent_units_together_get_their_share_of_the_time() -> None:
    turns, now, spent = Turns(), 0.0, 0.0
    turns.answered(99, 0.01)
    while now < 10_000:
        unit = int(now) % 5
        if turns.rest(unit, now):
            now += 0.1
            turns.answered(99, 0.01)
            continue
        cost = turns.limit(unit, 3.0, 0.0)
        now, spent = now + cost, spent + cost
        turns.missed(unit, now, cost)
    assert spent / now < SHARE * 1.1
    assert turns.rest(99, now) == 0


def test_who_is_not_known_to_be_there_is_not_waited_for_as_long() -> None:
    turns = Turns()
    assert turns.limit(1, 3.0, 0.0) == 3.0  # nobody answered yet: the line may be slow
    turns.answered(1, 0.01)
    assert turns.limit(1, 3.0, 0.0) == 3.0
    assert turns.limit(2, 3.0, 0.0) == SHORTEST_PATIENCE
    limits = []
    for _ in range(8):
        limits.append(turns.limit(2, 3.0, 0.0))
        turns.answered(1, 0.01)
        turns.missed(2, 0.0, 0.5)
    assert [number for number, limit in enumerate(limits, 1) if limit == 3.0] == [4, 8]


def test_a_slow_line_is_waited_for() -> None:
    turns = Turns()
    turns.answered(1, 0.4)
    assert turns.patience(3.0) == 1.6
    for _ in range(300):
        turns.answered(1, 0.01)
    assert turns.patience(3.0) == SHORTEST_PATIENCE


def test_a_unit_is_not_blamed_for_the_one_before() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    turns.missed(2, 0.0, 0.5)
    assert turns.rest(2, 1.0) > 0
    turns.missed(3, 1.0, 0.5)
    assert turns.rest(3, 1.5) == 0
    turns.missed(3, 2.0, 0.5)
    assert turns.rest(3, 2.5) > 0


def test_how_long_a_silent_unit_holds_up_the_converter_is_learned() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    turns.missed(2, 0.5, 0.5)
    turns.missed(3, 1.5, turns.limit(3, 3.0, 0.0))
    turns.answered(1, 0.5)  # the converter waited one second for each
    assert turns.limit(4, 3.0, 0.0) == 1.0
    assert turns.patience(3.0) == SHORTEST_PATIENCE  # that it was late tells nothing of the unit
    turns.missed(4, 4.0, 1.0)
    turns.missed(5, 5.0, 1.0)
    assert turns.rest(5, 5.0) > 0


def test_a_converter_that_is_not_held_up_costs_no_more_than_our_patience() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    turns.missed(2, 0.5, 0.5)
    turns.answered(1, 0.01)
    for unit in range(3, 9):
        assert turns.limit(unit, 3.0, 0.0) == SHORTEST_PATIENCE
        turns.missed(unit, 1.0, 0.5)
        assert turns.rest(unit, 1.0) > 0


def test_a_prompt_answer_after_a_long_row_tells_nothing_of_each_silence() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    for cost in (0.5, 1.0, 2.0):
        turns.missed(2, 0.0, cost)
    turns.answered(1, 0.01)
    turns.missed(3, 0.0, 0.5)
    assert turns.limit(4, 3.0, 0.0) == 1.0  # the converter may still be waiting for 3


ANSWER = 0.005  # seconds


class Line:
    """A line in a time of its own: living units that are read every second, and silent ones with their breakers."""

    def __init__(self, living: int, silent: int, *, timeout: float, hold: float, interval: float = 1.0) -> None:
        self._turns = Turns()
        self._timeout, self._hold, self._interval = timeout, hold, interval
        self._free_at = self._held_until = 0.0
        self.scans = dict.fromkeys(range(living), 0)
        self.asked: dict[int, list[float]] = {unit: [] for unit in range(living, living + silent)}
        self._breakers = {unit: Breaker(5, lambda opening: min(120.0, 5.0 * 2 ** (opening - 1))) for unit in self.asked}
        self._due: list[tuple[float, int]] = []
        for unit in range(living + silent):
            self._turns.polled(unit, interval)
            heappush(self._due, (unit / (living + silent), unit))

    def run(self, until: float) -> None:
        while self._due[0][0] < until:
            now, unit = heappop(self._due)
            heappush(self._due, (self._scan(unit, now) if unit in self.scans else self._probe(unit, now), unit))

    def _scan(self, unit: int, now: float) -> float:
        began = max(now, self._free_at)
        self._free_at = max(began, self._held_until) + ANSWER
        self._turns.answered(unit, self._free_at - began, self._free_at - began)
        self.scans[unit] += 1
        return now + self._interval * max(1, int((self._free_at - now) / self._interval))

    def _probe(self, unit: int, now: float) -> float:
        breaker, began = self._breakers[unit], max(now, self._free_at)
        breaker.may_try(now)
        if rest := self._turns.rest(unit, now) or self._turns.rest(unit, began):
            if not breaker.waits(now, rest):
                breaker.fail(now)
        else:
            self.asked[unit].append(began)
            self._held_until = max(began, self._held_until) + self._hold
            self._free_at = began + self._turns.limit(unit, self._timeout, began)
            self._turns.missed(unit, self._free_at, self._free_at - began)
            breaker.fail(self._free_at)
        return max(now + self._interval, breaker.until)


@pytest.mark.parametrize("hold", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("timeout", [1.0, 3.0])
def test_each_of_fifty_silent_units_is_asked_in_time_and_the_living_lose_nothing(timeout: float, hold: float) -> None:
    line = Line(50, 50, timeout=timeout, hold=hold)
    line.run(600.0)
    before = dict(line.scans)
    line.run(3600.0)
    waits = [after - then for times in line.asked.values() for then, after in pairwise(times) if then > 300]
    assert max(waits) < 180
    assert min(line.scans[unit] - before[unit] for unit in before) / 3000 > 0.95


def test_a_busy_line_is_left_to_the_living() -> None:
    line = Line(180, 20, timeout=1.0, hold=1.0)  # the living take nine tenths of it
    line.run(600.0)
    before = dict(line.scans)
    line.run(3600.0)
    assert min(line.scans[unit] - before[unit] for unit in before) / 3000 > 0.95
    waits = [after - then for times in line.asked.values() for then, after in pairwise(times) if then > 300]
    assert max(waits) < 20 / SHARE * 1.2


def test_where_nobody_answers_nobody_rests() -> None:
    turns = Turns()
    for unit in range(50):
        turns.missed(unit, float(unit), 1.0)
        assert turns.rest(unit, float(unit)) == 0
