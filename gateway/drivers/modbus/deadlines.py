"""Deadlines of answers: one timer for all requests, because nearly every answer comes in time."""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

STEP_SECONDS = 0.01  # a deadline fires at most this late

Waiting = asyncio.Future[Any]


class Deadlines:
    """Pending futures, by the step in which their time is over: they then get None."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[Waiting]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0  # when the timer fires

    def add(self, waiting: Waiting, moment: float) -> int:
        """Adds a future with its deadline; returns the step, for `remove`."""
        step = int(moment / STEP_SECONDS) + 1
        if (others := self._waiting.get(step)) is not None:
            others.add(waiting)
        else:
            self._waiting[step] = {waiting}
            if self._timer is None or step < self._next:
                self._set(step, waiting.get_loop())
        return step

    def remove(self, waiting: Waiting, step: int) -> None:
        """Removes a future that has its answer."""
        if (others := self._waiting.get(step)) is not None:
            others.discard(waiting)
            if not others:
                del self._waiting[step]

    def _set(self, step: int, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next, self._timer = step, loop.call_at(step * STEP_SECONDS, self._over, loop)

    def _over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, now = None, loop.time()
        for step in [step for step in self._waiting if step * STEP_SECONDS <= now]:
            for waiting in self._waiting.pop(step):
                if not waiting.done():
                    waiting.set_result(None)
        if self._waiting:
            self._set(min(self._waiting), loop)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = WeakKeyDictionary()


def shared() -> Deadlines:
    """The deadlines of the running event loop."""
    return _of_loops.setdefault(asyncio.get_running_loop(), Deadlines())
