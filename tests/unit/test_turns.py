"""Silent units of a shared line get a bounded share of its time, and one lost answer makes no unit silent."""

from gateway.drivers.modbus_turns import SHARE, SHORTEST_PATIENCE, Turns


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
        unit = int(now) % 10
        if turns.rest(unit, now):
            now += 0.1
            turns.answered(99, 0.01)
            continue
        cost = turns.limit(unit, 3.0)
        now, spent = now + cost, spent + cost
        turns.missed(unit, now, cost)
    assert spent / now < SHARE * 1.1
    assert turns.rest(99, now) == 0


def test_who_is_not_known_to_be_there_is_not_waited_for_as_long() -> None:
    turns = Turns()
    assert turns.limit(1, 3.0) == 3.0  # nobody answered yet: the line may be slow
    turns.answered(1, 0.01)
    assert turns.limit(1, 3.0) == 3.0
    assert turns.limit(2, 3.0) == SHORTEST_PATIENCE
    limits = []
    for _ in range(8):
        limits.append(turns.limit(2, 3.0))
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
    turns.missed(3, 1.5, turns.limit(3, 3.0))
    turns.answered(1, 0.5)  # the converter waited one second for each
    assert turns.limit(4, 3.0) == 1.0
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
        assert turns.limit(unit, 3.0) == SHORTEST_PATIENCE
        turns.missed(unit, 1.0, 0.5)
        assert turns.rest(unit, 1.0) > 0


def test_a_prompt_answer_after_a_long_row_tells_nothing_of_each_silence() -> None:
    turns = Turns()
    turns.answered(1, 0.01)
    for cost in (0.5, 1.0, 2.0):
        turns.missed(2, 0.0, cost)
    turns.answered(1, 0.01)
    turns.missed(3, 0.0, 0.5)
    assert turns.limit(4, 3.0) == 1.0  # the converter may still be waiting for 3
