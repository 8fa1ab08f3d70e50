"""Tags to block reads."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.blocks import AdaptivePlan, Block, Span, halves, plan


def spans(*places: tuple[int, int], space: str = "holding") -> list[Span[str]]:
    return [Span(space, start, count, f"{start}") for start, count in places]


def extents(blocks: list[Block[str]]) -> list[tuple[int, int]]:
    return [(block.start, block.count) for block in blocks]


def test_neighbours_are_one_read() -> None:
    assert extents(plan(spans((2, 2), (0, 2), (4, 1)), limit=125, gap=0)) == [(0, 5)]


def test_a_hole_up_to_the_gap_is_read_over() -> None:
    assert extents(plan(spans((0, 2), (5, 1)), limit=125, gap=3)) == [(0, 6)]
    assert extents(plan(spans((0, 2), (5, 1)), limit=125, gap=2)) == [(0, 2), (5, 1)]


def test_a_block_never_exceeds_the_limit() -> None:
    assert extents(plan(spans(*((i, 1) for i in range(126))), limit=125, gap=0)) == [(0, 125), (125, 1)]


def test_a_value_is_never_cut() -> None:
    assert extents(plan(spans(*((i * 2, 2) for i in range(63))), limit=125, gap=0)) == [(0, 124), (124, 2)]


def test_tables_are_never_mixed() -> None:
    mixed = spans((0, 1)) + spans((0, 1), space="input")
    assert {block.space for block in plan(mixed, limit=125, gap=100)} == {"holding", "input"}


def test_overlapping_spans_share_a_block() -> None:
    [block] = plan(spans((0, 1), (0, 2), (1, 1)), limit=125, gap=0)
    assert (block.start, block.count, len(block.spans)) == (0, 2, 3)


def test_halving_ends_with_each_span_alone() -> None:
    [block] = plan(spans((0, 2), (2, 2), (9, 1)), limit=125, gap=5)
    left, right = halves(block)
    assert extents([left, right]) == [(0, 2), (2, 8)]
    assert halves(left) == []
    assert extents(halves(right)) == [(2, 2), (9, 1)]


places = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 8)), min_size=1, max_size=60)


@given(places, st.integers(8, 125), st.integers(0, 20))
def test_every_span_lies_in_one_block_within_the_limits(where: list[Any], limit: int, gap: int) -> None:
    blocks = plan(spans(*where), limit=limit, gap=gap)
    held = [span for block in blocks for span in block.spans]
    assert sorted((span.start, span.count) for span in held) == sorted(where)
    for block in blocks:
        assert block.count <= limit
        covered: set[int] = set()
        for span in block.spans:
            assert block.start <= span.start
            assert span.start + span.count <= block.start + block.count
            covered.update(range(span.start, span.start + span.count))
        hole = longest_hole(covered, block)
        assert hole <= gap


def longest_hole(covered: set[int], block: Block[str]) -> int:
    longest = run = 0
    for at in range(block.start, block.start + block.count):
        run = 0 if at in covered else run + 1
        longest = max(longest, run)
    return longest


def test_a_plan_that_was_split_is_tried_whole_again_after_a_growing_pause() -> None:
    kept = AdaptivePlan("whole")
    pauses = []
    now = 0.0
    for _ in range(9):
        assert kept.current(now) == "whole"
        kept.split("parts", now)
        kept.split("smaller parts", now + 1)  # a further refusal does not put it off
        pauses.append(next(pause for pause in range(2, 7200) if kept.current(now + pause) == "whole"))
        now += pauses[-1]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
