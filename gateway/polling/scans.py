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
        self._waited = session.waited or (lambda: 0.0)
        self._deadline = timeout * HUNG_AFTER_TIMEOUTS
        self._reads: dict[tuple[str, ...], Read] = {}
        self._latest: tuple[tuple[Tag, ...], Read] | None = None

    async def read(self, tags: tuple[Tag, ...]) -> list[Reading]:
        """Reads these tags once. Raises DeviceError, also when it takes too long.

        What the scan waits for others on a shared line does not count.
        """
        read, loop, counted = self._compiled(tags), asyncio.get_running_loop(), self._waited()
        timer: asyncio.TimerHandle

        def check() -> None:
            nonlocal counted, timer
            if (more := self._waited() - counted) > self._deadline / 100:
                counted += more
                timer = loop.call_later(more, check)
            else:
                limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as limit:
                timer = loop.call_later(self._deadline, check)
                try:
                    return await read()
                finally:
                    timer.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeviceError(f"a scan took longer than {self._deadline:g} s") from None

    def _compiled(self, tags: tuple[Tag, ...]) -> Read:
        if self._latest is not None and self._latest[0] is tags:  # as with one interval for all
            return self._latest[1]
        key = tuple(tag.name for tag in tags)
        if (read := self._reads.get(key)) is None:
            if len(self._reads) >= MOST_PLANS:
                self._reads.clear()
            read = self._reads[key] = self._compile(tags)
        self._latest = tags, read
        return read
