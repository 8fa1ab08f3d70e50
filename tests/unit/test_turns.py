"""Silent and slow units of a shared line get a bounded share of its time; one lost answer makes no unit silent."""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import chain, count, cycle, pairwise, repeat

import pytest

from gateway.drivers.modbus.turns import SHARE, SHORTEST_PATIENCE, SLOW_SHARE, Turns
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


LOST = 3.0  # seconds: the timeout of a request


def scans_of(
    units: Mapping[int, Iterator[float]], seconds: float, turns: Turns, interval: float = 1.0
) -> dict[int, int]:
    """How often units of a line are read that take so long for each of their answers; LOST is no answer."""
    counted, free_at, slow_free_at, arrivals = dict.fromkeys(units, 0), 0.0, 0.0, count()
    due = [(0.0, next(arrivals), unit) for unit in units]
    for unit in units:
        turns.polled(unit, interval)
    while due[0][0] < seconds:
        now, arrival, unit = heappop(due)
        if rest := turns.slow_rest(unit, now):
            heappush(due, (now + rest, arrival, unit))
            continue
        if (slow := turns.is_slow(unit)) and slow_free_at > now:
            heappush(due, (slow_free_at, arrival, unit))
            continue
        takes = next(units[unit])
        free_at = max(now, free_at) + takes
        slow_free_at = free_at if slow else slow_free_at
        if takes == LOST:
            turns.missed(unit, free_at, takes)
        else:
            turns.answered(unit, takes, takes, free_at)
            counted[unit] += 1
        heappush(due, (now + interval * max(1, int((free_at - now) / interval)), next(arrivals), unit))
    return counted


@pytest.mark.parametrize("slow", [[2.9], [1.5], [0.9], [ANSWER, LOST], [*[ANSWER] * 9, LOST]])
@pytest.mark.parametrize(("many", "quick"), [(1, 1), (4, 20)])
def test_slow_units_cost_the_others_a_tenth_and_are_still_read(slow: list[float], many: int, quick: int) -> None:
    units = {unit: repeat(ANSWER) if unit < quick else cycle(slow) for unit in range(quick + many)}
    counted = scans_of(units, 3600.0, Turns())
    assert min(counted[unit] for unit in range(quick)) > 3600 * (1 - SLOW_SHARE) * 0.97
    assert min(counted[unit] for unit in range(quick, quick + many)) > 3600 / (LOST / SLOW_SHARE) / many / 2


def test_many_slow_units_get_their_fair_part_of_the_line() -> None:
    counted = scans_of({0: repeat(ANSWER), **{unit: repeat(2.9) for unit in range(1, 11)}}, 3600.0, Turns())
    assert min(counted.values()) * 2.9 > 3600 / len(counted) * 0.9


def test_units_that_lose_an_answer_now_and_then_do_not_slow_each_other_down() -> None:
    lossy = {unit: chain(repeat(ANSWER, unit * 50), cycle([*[ANSWER] * 999, LOST])) for unit in range(20)}
    assert min(scans_of(lossy, 3600.0, Turns()).values()) > 3600 * 0.9


def test_units_that_are_all_slow_are_read_as_fast_as_they_answer() -> None:
    counted = scans_of({unit: repeat(2.0) for unit in range(5)}, 3600.0, Turns())
    assert sum(counted.values()) * 2.0 > 3600 * 0.95
    assert max(counted.values()) - min(counted.values()) < 10


def test_a_unit_rests_for_no_single_lost_or_late_answer() -> None:
    turns = Turns()
    slow = chain([ANSWER] * 10, [LOST], [ANSWER] * 50, [2.5], repeat(ANSWER))
    scans_of({0: repeat(ANSWER), 1: slow}, 300.0, turns)
    assert turns.slow_news(1) == 0
    assert turns.slow_rest(1, 300.0) == 0


def test_a_unit_that_is_alone_does_not_rest() -> None:
    turns = Turns()
    scans_of({0: repeat(ANSWER), 1: repeat(2.5)}, 100.0, turns)
    assert scans_of({1: repeat(2.5)}, 100.0, Turns())[1] == 40
    turns.left(0)
    before = turns.slow_rest(1, 100.0)
    turns.answered(1, 2.5, 2.5, 100.0)
    assert turns.slow_rest(1, 100.0) == before


def test_a_slow_unit_is_told_of_once_and_again_when_it_had_been_well() -> None:
    turns = Turns()
    turns.polled(0, 1.0)
    turns.polled(1, 1.0)
    news = []
    for now in chain(range(0, 100, 3), range(2000, 2100, 3)):
        turns.answered(1, 2.5, 2.5, float(now))
        if turns.slow_rest(1, float(now)):
            news.append(turns.slow_news(1))
    assert [takes for takes in news if takes] == [2.5, 2.5]
