"""Scans: a read is planned once for each set of tags."""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from gateway.drivers.driver import DeviceError, DeviceSession, Read, Tag
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


async def _write(_: Tag, value: Value) -> Value:
    return value


async def test_scans_leave_nothing_to_the_garbage_collector() -> None:
    async def read() -> list[Reading]:
        await asyncio.sleep(0)
        return []

    scans = Scans(DeviceSession(lambda _: read, _write), 1.0)
    with scans.watched():
        gc.collect()
        for _ in range(100):
            await scans.read(TAGS[:1])
        assert gc.collect() < 10


async def test_only_a_scan_can_take_too_long_not_what_is_between_two() -> None:
    async def read() -> list[Reading]:
        reads.append(1)
        await asyncio.sleep(0 if len(reads) < 3 else 3600)
        return []

    reads: list[int] = []
    scans = Scans(DeviceSession(lambda _: read, _write), 0.01)
    with pytest.raises(DeviceError, match=r"longer than 0\.1 s"):
        async with asyncio.timeout(10):
            with scans.watched():
                while True:
                    await scans.read(TAGS[:1])
                    await asyncio.sleep(0.25)
    assert len(reads) == 3


async def test_a_driver_that_takes_no_notice_of_one_cancellation_is_cancelled_at_its_next_scan_too() -> None:
    async def read() -> list[Reading]:
        reads.append(1)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        if len(reads) > 1:
            await asyncio.sleep(3600)
        return []

    reads: list[int] = []
    scans = Scans(DeviceSession(lambda _: read, _write), 0.01)
    async with asyncio.timeout(10):
        with scans.watched():
            assert await scans.read(TAGS[:1]) == []
            with pytest.raises(DeviceError, match=r"longer than 0\.1 s"):
                await scans.read(TAGS[:1])


async def test_a_scan_whose_answer_is_there_after_a_stall_has_succeeded() -> None:
    answered = asyncio.get_running_loop().create_future()

    async def read() -> list[Reading]:
        await answered
        return []

    scans = Scans(DeviceSession(lambda _: read, _write), 0.01)
    with scans.watched():
        asyncio.get_running_loop().call_soon(time.sleep, 0.3)  # the process is suspended
        asyncio.get_running_loop().call_soon(answered.set_result, None)
        assert await scans.read(TAGS[:1]) == []
        await asyncio.sleep(0.3)


async def test_who_is_cancelled_by_others_is_not_told_that_the_device_is_slow() -> None:
    async def scan() -> None:
        scans = Scans(DeviceSession(lambda _: read, _write), 0.01)
        with scans.watched():
            await scans.read(TAGS[:1])

    async def read() -> list[Reading]:
        await asyncio.sleep(3600)
        return []

    task = asyncio.create_task(scan())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
