"""Which numbers are due again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.retransmit_queue import SILENCE_SECONDS, TOLERANCE_SECONDS, RetransmitQueue
from nexus.contract.ranges import Ranges

numbers = st.integers(0, 60)


@given(st.lists(st.tuples(numbers, st.integers(0, 9))))
def test_ranges_are_a_set_of_numbers(added: list[tuple[int, int]]) -> None:
    ranges, plain = Ranges(), set()
    for first, length in added:
        whole = ranges.add(first, first + length)
        plain |= set(range(first, first + length + 1))
        assert whole[0] <= first <= first + length <= whole[1]
        assert set(range(whole[0], whole[1] + 1)) <= plain
    found = list(ranges)
    assert {number for first, last in found for number in range(first, last + 1)} == plain
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found)), "not merged"
    for number in range(72):
        assert ranges.after(number) == next(n for n in range(number, 100) if n not in plain)
        assert ranges.holds(number, number) == (number in plain)


def test_what_was_never_sent_is_due_and_what_was_sent_is_not() -> None:
    queue = RetransmitQueue(1, 1)
    assert queue.due(1, 100) == 1
    assert queue.due(5, 100) == 5
    queue.mark_sent(1, 40, 0)
    assert queue.due(1, 100) == 41
    assert queue.due(1, 40) is None
    queue.mark_sent(41, 100, 0)
    assert queue.due(1, 100) is None
    queue.requeue(20, 29)
    assert queue.due(1, 100) == 20
    assert queue.due(30, 100) is None


def test_what_a_later_one_has_overtaken_is_due() -> None:
    queue = RetransmitQueue(1, 1)
    queue.mark_sent(1, 10, 0)
    queue.mark_sent(11, 20, 5)
    queue.mark_sent(21, 30, TOLERANCE_SECONDS + 1)
    queue.confirm(11, 15, 6)
    assert queue.due(1, 30) is None
    queue.confirm(21, 30, TOLERANCE_SECONDS + 2)
    assert queue.due(1, 30) == 1
    assert queue.mark_sent(1, 10, TOLERANCE_SECONDS + 3)
    assert queue.due(1, 30) is None


def test_silence_makes_all_due_until_a_receipt_shows_that_the_broker_still_has_it() -> None:
    queue = RetransmitQueue(1, 1)
    for second in range(100):
        queue.mark_sent(second * 10 + 1, second * 10 + 10, second)
    assert queue.due(1, 1000) is None, "nobody listened"
    queue.listen(99)
    assert queue.due(1, 1000) == 1
    queue.mark_sent(1, 10, 99)
    queue.listen(100)
    assert queue.due(1, 1000) == 11
    queue.confirm(1, 10, 100)  # of either sending: it shows nothing
    assert queue.due(1, 1000) == 11
    queue.confirm(11, 20, 101)
    queue.listen(101)
    assert queue.due(1, 1000) is None
    queue.listen(101 + SILENCE_SECONDS + 1)
    assert queue.due(1, 1000) == 21


def test_a_missing_one_stays_missing_beside_receipts() -> None:
    queue = RetransmitQueue(1, 1)
    for second in range(60):
        queue.mark_sent(second + 1, second + 1, second)
        if second != 20:
            queue.confirm(second + 1, second + 1, second)
    assert queue.due(1, 60) == 21
    assert queue.due(22, 60) is None
    assert not queue.is_committed(21, 21)
    assert queue.is_committed(22, 60)


@given(
    st.lists(st.tuples(st.sampled_from(["send", "again", "unsent", "commit", "wait"]), numbers, st.integers(0, 9))),
)
def test_every_number_is_committed_or_due_in_the_end(events: list[tuple[str, int, int]]) -> None:
    """Whatever happened, sending what is due, and committing it, commits everything."""
    queue, now, following = RetransmitQueue(1, 1), 0.0, 1
    committed: set[int] = set()
    for event, first, length in events:
        last = first + length
        if event == "send":
            queue.mark_sent(following, following + length, now)
            following += length + 1
        elif event == "wait":
            now += length * 5
        elif first >= 1 and last < following:
            if event == "commit":
                queue.confirm(first, last, now)
                committed |= set(range(first, last + 1))
            elif event == "again":
                queue.mark_sent(first, last, now)
            else:
                queue.requeue(first, last)
        for number in range(1, following):
            assert queue.is_committed(number, number) == (number in committed)
    for _ in range(1000):
        now += 1
        queue.listen(now)
        if (due := queue.due(1, following - 1)) is not None:
            assert due not in committed
            queue.mark_sent(due, due, now)
            queue.confirm(due, due, now + 0.5)
            committed.add(due)
    assert committed == set(range(1, following))
    assert queue.due(1, following - 1) is None
