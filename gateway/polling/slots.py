"""Slots of time: what is due within the same one begins together, because waking up costs more than most scans."""

import asyncio

from gateway.polling.schedule import slot

SLOT_SECONDS = 0.02


class Slots:
    """Wakes whoever waits for the same slot at once; `width` in seconds is how much later than asked that may be."""

    def __init__(self, width: float = SLOT_SECONDS) -> None:
        self.width = width
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

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
