"""Scans of a connected device: planned once for each set of tags that is due together, and each with a deadline."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        self._loop = asyncio.get_running_loop()
        self._must_end: float | None = None  # when the scan that runs now must, but for what it waits for others
        self._reads: dict[tuple[str, ...], Read] = {}
        self._latest: tuple[tuple[Tag, ...], Read] | None = None

    async def read(self, tags: tuple[Tag, ...]) -> list[Reading]:
        """Reads these tags once. Raises DeviceError."""
        read = self._compiled(tags)
        self._must_end = self._loop.time() + self._deadline - self._waited()
        try:
            return await read()
        finally:
            self._must_end = None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Ends the block with DeviceError when a scan takes too long.

        What it waits for others on a shared line does not count. One timer serves all scans, one after the other.
        """
        try:
            async with asyncio.timeout(None) as limit:
                self._watch(limit)
                try:
                    yield
                finally:
                    self._timer.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeviceError(f"a scan took longer than {self._deadline:g} s") from None

    def _watch(self, limit: asyncio.Timeout) -> None:
        now = self._loop.time()
        due = now + self._deadline if self._must_end is None else self._must_end + self._waited()
        if due > now:
            self._timer = self._loop.call_at(max(due, now + self._deadline / 100), self._watch, limit)
        else:
            limit.reschedule(now)

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
