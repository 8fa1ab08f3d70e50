"""A spool's thread: does one job at a time; a job that hangs with its disk does not keep the process from ending."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import TypeVar

T = TypeVar("T")


class SpoolThread:
    """Does jobs in the order of the calls. At its end Python waits for the threads of an executor, but not for this."""

    def __init__(self, name: str = "spool") -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._busy_since: float | None = None
        Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T], seconds: float) -> T:
        """Does it after what was asked for before; not at all if this is cancelled before it begins.

        Raises OSError when that takes longer, and at once while an earlier job does. A job that has begun goes on.
        """
        try:
            if (since := self._busy_since) is not None and monotonic() - since > seconds:
                raise TimeoutError
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(self._submit(work))
        except TimeoutError:
            raise OSError(f"the disk has not answered for {seconds:g} s") from None

    def end(self, last: Callable[[], None], seconds: float) -> bool:
        """Does the last job. Waits for it so long, and tells whether it was done."""
        done = self._submit(last)
        self._jobs.put(None)
        try:
            done.result(seconds)
        except TimeoutError:
            return False
        return True

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        done: Future[T] = Future()
        self._jobs.put(partial(_do, work, done))
        return done

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._busy_since = monotonic()
            job()
            self._busy_since = None
            del job  # or its batches would stay in memory until the next job


def _do(work: Callable[[], T], done: Future[T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)
        del work, done  # the error's traceback refers to it: a cycle, and garbage collection is rare
