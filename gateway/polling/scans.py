"""Scans of a connected device: planned once for each set of tags that is due together, and each with a deadline."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.drivers.driver import DeviceError, DeviceSession, Read, Tag
from nexus.contract.reading import Reading

# A scan may take many requests, each with the device's timeout; after this many timeouts it counts as hung.
HUNG_AFTER_TIMEOUTS = 10
MOST_PLANS = 100  # sets of tags whose reads are kept; beyond, all are planned anew


class Scans:
    """The scans of one session; `timeout` in seconds is that of one answer."""

    def __init__(self, session: DeviceSession, timeout: float) -> None:
        self._compile = session.compile
        self._waited = session.waited or (lambda: 0.0)
        self._deadline = timeout * HUNG_AFTER_TIMEOUTS
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None  # the task that scans
        self._cancelled = 0  # how often we have cancelled the current scan
        self._must_end: float | None = None  # when the current scan must end, not counting its waits for others
        self._reads: dict[tuple[str, ...], Read] = {}
        self._latest: tuple[tuple[Tag, ...], Read] | None = None

    async def read(self, tags: tuple[Tag, ...]) -> list[Reading]:
        """Reads these tags once, within `watched`. Raises DeviceError, also when it takes too long.

        Time spent waiting for others on a shared line does not count.
        """
        read, self._cancelled = self._compiled(tags), 0
        self._must_end = self._loop.time() + self._deadline - self._waited()
        try:
            return await read()
        except asyncio.CancelledError:
            if self._task is None or not 0 < self._task.cancelling() <= self._cancelled:  # cancelled by somebody else
                raise
            raise DeviceError(f"a scan took longer than {self._deadline:g} s", kind="timeout") from None
        finally:
            self._must_end = None
            while self._cancelled and self._task is not None:
                self._cancelled -= 1
                self._task.uncancel()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watches over the scans of this task. One timer serves all of them, one after the other."""
        self._task = asyncio.current_task()
        self._watch()
        try:
            yield
        finally:
            self._timer.cancel()

    def _watch(self) -> None:
        now = self._loop.time()
        due = now + self._deadline if self._must_end is None else self._must_end + self._waited()
        if self._must_end is not None and due <= now:
            self._loop.call_soon(self._cancel, self._must_end)  # an answer that has already arrived is handled first
        self._timer = self._loop.call_at(max(due, now + self._deadline / 100), self._watch)

    def _cancel(self, scan: float) -> None:
        """Cancels the scan if it still runs; again later, if its driver ignores that."""
        if scan == self._must_end and self._task is not None:
            self._must_end += self._deadline
            self._cancelled += 1
            self._task.cancel()

    def _compiled(self, tags: tuple[Tag, ...]) -> Read:
        if self._latest is not None and self._latest[0] is tags:  # the usual case: one interval for all tags
            return self._latest[1]
        key = tuple(tag.name for tag in tags)
        if (read := self._reads.get(key)) is None:
            if len(self._reads) >= MOST_PLANS:
                self._reads.clear()
            read = self._reads[key] = self._compile(tags)
        self._latest = tags, read
        return read
