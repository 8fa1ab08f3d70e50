"""A spool's thread: one job after the other, and one that hangs with its disk does not keep the process from ending."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class SpoolThread:
    """Does jobs in the order of the calls. At its end Python waits for the threads of an executor, but not for this."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name="spool", daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """Does it after what was asked for before; not at all if this is cancelled before it begins."""
        return await asyncio.wrap_future(self._submit(work))

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
            job()
            del job  # or it keeps its batches until there is another


def _do(work: Callable[[], T], done: Future[T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)
        del work, done  # which the error's traceback has: a circle, and the collector comes seldom
