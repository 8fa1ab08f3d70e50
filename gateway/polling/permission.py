"""Whether a device is ours to poll: another gateway of the group may have taken it over."""

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 0.1
LEAVE_SECONDS = 2.0  # how long to keep a device that may not be ours any more

MayPoll = Callable[[], bool]


class NotOursError(Exception):
    """Another gateway has the device now."""


async def wait(may_poll: MayPoll) -> None:
    """Waits while it is uncertain whether the device is still ours: we were suspended, or cut off."""
    while not may_poll():  # noqa: ASYNC110  depends on the clock: there is no event
        await asyncio.sleep(LOOK_SECONDS)


async def check(may_poll: MayPoll) -> None:
    """Raises NotOursError if we may not poll, even after waiting a moment."""
    if not may_poll():
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await wait(may_poll)
        except TimeoutError:
            raise NotOursError from None
