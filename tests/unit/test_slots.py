"""Slots: what is due within the same one begins together."""

import asyncio

from gateway.polling.slots import Slots


async def test_those_of_one_slot_are_woken_together_and_not_before_their_time() -> None:
    loop = asyncio.get_running_loop()
    slots, woken = Slots(0.1), list[tuple[float, float]]()
    now = loop.time()

    async def wait(moment: float) -> None:
        await slots.reached(moment)
        woken.append((moment, loop.time()))

    first = (int(now / 0.1) + 2) * 0.1
    await asyncio.gather(*(wait(moment) for moment in (first + 0.11, first - 0.09, first - 0.01, first)))
    assert [moment for moment, _ in woken] == [first - 0.09, first - 0.01, first, first + 0.11]
    assert all(at >= first - 1e-6 for _, at in woken)
    assert woken[-1][1] >= first + 0.2 - 1e-6


async def test_who_waits_no_more_holds_up_nobody() -> None:
    slots, moment = Slots(0.05), asyncio.get_running_loop().time() + 0.05
    leaving, staying = (asyncio.create_task(slots.reached(moment)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(5):
        await staying
    assert leaving.cancelled()


async def test_a_moment_that_is_over_is_not_waited_for() -> None:
    slots = Slots(0.05)
    async with asyncio.timeout(5):
        await slots.reached(asyncio.get_running_loop().time() - 1)
