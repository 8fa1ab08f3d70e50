"""Deadlines of Modbus answers: one timer for all."""

import asyncio
from collections.abc import Awaitable

from gateway.drivers.modbus.deadlines import STEP_SECONDS, Deadlines


async def test_each_is_told_when_its_own_time_is_over_in_whatever_order_they_came() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    told: list[float] = []
    now = loop.time()

    async def wait(moment: float) -> None:
        waiting = loop.create_future()
        deadlines.add(waiting, moment)
        assert await waiting is None
        assert loop.time() >= moment - STEP_SECONDS / 10
        told.append(moment - now)

    waits: list[Awaitable[None]] = [wait(now + seconds) for seconds in (0.3, 0.1, 0.2, 0.1)]
    async with asyncio.timeout(10):
        await asyncio.gather(*waits)
    assert [round(seconds, 3) for seconds in told] == [0.1, 0.1, 0.2, 0.3]


async def test_who_has_his_answer_is_left_alone_and_those_after_him_are_told() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    answered, removed, late = (loop.create_future() for _ in range(3))
    now = loop.time()
    deadlines.add(answered, now + 0.05)
    step = deadlines.add(removed, now + 0.05)
    deadlines.add(late, now + 0.1)
    answered.set_result(b"answer")
    deadlines.remove(removed, step)
    async with asyncio.timeout(10):
        await late
    assert await answered == b"answer"
    assert not removed.done()
