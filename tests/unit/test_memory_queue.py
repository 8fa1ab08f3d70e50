"""Batches on their way to the disk, by hypothesis against the plain way to find the lowest number."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.batch import Batch
from gateway.delivery.memory_queue import MemoryQueue

STEPS = st.one_of(st.integers(1, 50).map(lambda number: ("add", number)), st.sampled_from([("take", 3), ("back", 0)]))


@given(st.lists(STEPS, max_size=60))
def test_the_lowest_number_is_known_whatever_comes_and_goes(steps: list[tuple[str, int]]) -> None:
    waiting, there, taken = MemoryQueue(20), [], []
    for step, number in steps:
        if step == "add":
            there.append(number)
            for gone in waiting.add(Batch("dev", b"{}", 2, number)):
                assert there.pop(0) == gone.first
        elif step == "take":
            waiting.done()
            taken, there = there[:number], there[number:]
            assert [batch.first for batch in waiting.take(number)] == taken
        else:
            waiting.put_back()
            there, taken = taken + there, []
        assert waiting.first == min(there + taken, default=None)
        assert waiting.readings == 2 * len(there + taken)
        assert bool(waiting) == bool(there + taken)
    waiting.put_back()

    def give(batch: Batch) -> None:
        batch.first += 100

    waiting.number(give)
    assert waiting.first == min((number + 100 for number in taken + there), default=None)
