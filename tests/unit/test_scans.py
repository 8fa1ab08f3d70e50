"""Scans: a read is planned once for each set of tags."""

import asyncio
from collections.abc import Sequence

from gateway.drivers.driver import DeviceSession, Read, Tag
from gateway.polling.scans import MOST_PLANS, Scans
from nexus.contract.reading import Reading, Value

TAGS: tuple[Tag, ...] = tuple(Tag(f"t{number}", None) for number in range(MOST_PLANS + 5))


def compiled_by(*scans: Sequence[Tag]) -> list[str]:
    """Which sets were compiled when these were read, each by the names in it."""
    found: list[str] = []

    def plan(tags: Sequence[Tag]) -> Read:
        found.append("+".join(tag.name for tag in tags))

        async def read() -> list[Reading]:
            return [tag.reading(1, 0) for tag in tags]

        return read

    async def write(_: Tag, value: Value) -> Value:
        return value

    async def work() -> None:
        one = Scans(DeviceSession(plan, write), 1.0)
        for tags in scans:
            assert [reading.tag for reading in await one.read(tuple(tags))] == [tag.name for tag in tags]

    asyncio.run(work())
    return found


def test_a_set_of_tags_is_planned_once_however_often_it_is_due() -> None:
    fast, all_of_them = TAGS[:1], TAGS[:2]
    assert compiled_by(fast, fast, all_of_them, fast, all_of_them, list(fast)) == ["t0", "t0+t1"]


def test_the_sets_that_are_kept_are_bounded() -> None:
    ever_others = [[tag] for tag in TAGS]
    assert len(compiled_by(*ever_others, *ever_others[:3])) == len(TAGS) + 3
