"""Time slots: scans due within a slot start together, because waking up costs more than most scans."""

import asyncio
from random import random

from gateway.polling.schedule import Spread, slot

SLOT_SECONDS = 0.02
TOGETHER = 10  # devices that start in the same slot, if there are enough; more would save little
FEWEST_MOMENTS = 10  # of an interval at which some begin, so that those of one line come one after the other


class Slots:
    """Wakes all that wait for the same slot together, up to `width` seconds later than asked."""

    def __init__(self, width: float = SLOT_SECONDS) -> None:
        self.width = width
        self._loop = asyncio.get_running_loop()
        self._moments = FEWEST_MOMENTS
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    def share(self, devices: int) -> None:
        """Adapts to the number of devices that share the slots."""
        self._moments = max(FEWEST_MOMENTS, devices // TOGETHER)

    def spread(self) -> Spread:
        """When a device's intervals begin."""
        return Spread(random(), self.width, self._moments)  # noqa: S311  spreads load, guards nothing

    async def reached(self, moment: float) -> None:
        """Waits until the first slot that begins at `moment`, on the event loop's clock, or later."""
        number, reached = slot(moment, self.width), self._loop.create_future()
        if (waiting := self._waiting.get(number)) is not None:
            waiting.append(reached)
        else:
            self._waiting[number] = [reached]
            self._loop.call_at(number * self.width, self._wake, number)
        await reached

    def _wake(self, number: int) -> None:
        for reached in self._waiting.pop(number):
            if not reached.done():
                reached.set_result(None)
