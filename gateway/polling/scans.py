"""Scans of a connected device: planned once for each set of tags that is due together, and each with a deadline."""

import asyncio

from gateway.drivers.driver import DeviceError, DeviceSession, Read, Tag
from nexus.contract.reading import Reading

# A scan may be many requests, each with the device's timeout; beyond this many of them it is hung.
HUNG_AFTER_TIMEOUTS = 10
MOST_PLANS = 100  # sets of tags whose reads are kept; beyond, all are planned anew


class Scans:
    """The scans of one session; `timeout` in seconds is that of one answer."""

    def __init__(self, session: DeviceSession, timeout: float) -> None:
        self._compile = session.compile
        self._waited = session.waited
        self._deadline = timeout * HUNG_AFTER_TIMEOUTS
        self._reads: dict[tuple[str, ...], Read] = {}

    async def read(self, tags: tuple[Tag, ...]) -> list[Reading]:
        """`asyncio.timeout`, in less time than that takes: this is done with every scan. Raises DeviceError.

        What the scan waits for others on a shared line is added to its time.
        """
        read = self._compiled(tags)
        task, hung, deadline = asyncio.current_task(), False, self._deadline
        loop, waited = asyncio.get_running_loop(), self._waited() if self._waited is not None else 0.0

        def give_up() -> None:
            nonlocal hung, waited
            if self._waited is not None and (more := self._waited() - waited) > deadline / 100:
                waited += more
                timers.append(loop.call_later(more, give_up))
                return
            hung = True
            if task is not None:
                task.cancel()

        timers = [loop.call_later(deadline, give_up)]
        try:
            return await read()
        except asyncio.CancelledError:
            if hung and task is not None and task.uncancel() == 0:
                raise DeviceError(f"a scan was not done within {deadline:g} s") from None
            raise
        finally:
            timers[-1].cancel()

    def _compiled(self, tags: tuple[Tag, ...]) -> Read:
        key = tuple(tag.name for tag in tags)
        if (read := self._reads.get(key)) is None:
            if len(self._reads) >= MOST_PLANS:
                self._reads.clear()
            read = self._reads[key] = self._compile(tags)
        return read
