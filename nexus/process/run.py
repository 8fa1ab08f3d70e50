"""Runs a service as a process until a signal, stops it in order, and returns the exit code."""

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from nexus.process import log, supervisor
from nexus.process.errors import ConfigError, InvariantError

STOP_SECONDS = 9.0  # a clean stop takes at most this long, then it is cut short

# By default the garbage collector runs very often, for programs that create many reference cycles. Ours do not; but
# each connection of asyncio is a cycle, and waits for the collector: at a threshold of 100,000, thousands of them.
GC_THRESHOLDS = (10_000, 10, 10)

Service = Callable[[asyncio.Event], Awaitable[None]]


def run(service: Service) -> int:
    """Runs `service(stop)` to its end; SIGTERM and SIGINT set `stop`. Returns 0, 2 for bad configuration, else 1.

    A service that has not ended STOP_SECONDS after the signal, or at a second one, is cancelled: exit code 1.
    """
    logger = log.get("run")
    gc.set_threshold(*GC_THRESHOLDS)
    _allow_descriptors()
    try:
        asyncio.run(_supervise(service))
    except ConfigError as error:
        for line in str(error).splitlines():
            logger.error("bad configuration", error=line)
        return 2
    except asyncio.CancelledError:
        logger.error("the stop timed out", seconds=STOP_SECONDS)
        return 1
    except InvariantError:
        logger.exception("an invariant was violated")
        return 1
    except Exception:
        logger.exception("the service failed")
        return 1
    return 0


def _allow_descriptors() -> None:
    """Raises the soft limit of file descriptors, which is low for the sake of select(): each device needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _supervise(service: Service) -> None:
    stop = asyncio.Event()
    work = asyncio.ensure_future(service(stop))
    broken: list[InvariantError] = []

    def in_a_callback(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the event loop failed, or a task that nobody waits for."""
        error = context.get("exception")
        if isinstance(error, InvariantError):
            broken.append(error)
            stop.set()
        elif isinstance(error, Exception):
            supervisor.failed("peer", str(context.get("message", "a callback")), error)
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(in_a_callback)
    with _signals(stop, work):
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.get("run").info("stopping")
                await asyncio.wait({work}, timeout=STOP_SECONDS)
                work.cancel()
            await work
            if broken:
                raise broken[0]
        finally:
            stopping.cancel()


@contextmanager
def _signals(stop: asyncio.Event, work: asyncio.Future[None]) -> Iterator[None]:
    """While entered, the first SIGTERM or SIGINT sets `stop` and the next one cancels `work`."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if stop.is_set():
            work.cancel()
        stop.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def task_group(*routine: type[Exception]) -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises a single error of its body and tasks, not an exception group.

    It raises a broken invariant, else the first error that is not `routine`, else the first one. Of the others, faults
    are counted and logged, and routine errors are added as notes; equal errors count once. A cancellation precedes all
    but a broken invariant: a TaskGroup of Python 3.11 loses it when a task fails at the same moment.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations, interrupted = task.cancelling(), False
    try:
        async with asyncio.TaskGroup() as group:
            try:
                yield group
            except asyncio.CancelledError:  # by the group, which takes it back, or by somebody else
                interrupted = True
                raise
    except BaseExceptionGroup as errors:
        found = list(_flat(errors))
        raised = min(found, key=lambda error: (not isinstance(error, InvariantError), isinstance(error, routine)))
        for error in {repr(error): error for error in reversed(found) if repr(error) != repr(raised)}.values():
            if isinstance(error, routine):
                raised.add_note(f"at the same time: {error!r}")
            else:
                supervisor.failed("peer", "task group", error)
        if interrupted and task.cancelling() > cancellations and not isinstance(raised, InvariantError):
            raise asyncio.CancelledError from raised
        raise raised from None


def _flat(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error


async def run_until(stop: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Awaits `work`, and cancels it if `stop` is set first; tells whether it was completed."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})
