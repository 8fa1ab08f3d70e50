"""Supervises code that handles input from outside: a fault costs that input only; it is counted and logged once.

Tasks beside the main flow are started here, in one of three ways (tests/unit/test_supervisor.py lists the few
exceptions, which are awaited where they are created):

- `start`: handles one thing, such as a command or a request; whatever it raises is caught.
- `keep`: serves until it returns; after a fault it is started again, with a growing pause.
- `part`: belongs to the block around it; what it raises ends that block, and is handled by the block's owner.

`call` is for callbacks, such as a message's. Only InvariantError passes through all of them, and ends the process.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Literal, ParamSpec, TypeVar, get_args

from prometheus_client import Counter

from nexus.process import log
from nexus.process.backoff import Backoff

Kind = Literal["message", "command", "file", "device", "request", "timer", "peer"]

LOG_AGAIN_SECONDS = 3600.0  # the same fault is logged at most this often
_MOST_REMEMBERED = 1000  # different faults that are remembered

P = ParamSpec("P")
T = TypeVar("T")

# Each service's registry takes it: see the services' `metrics` modules.
faults = Counter(
    "nexus_handler_faults",
    "Faults in handling one thing from outside (a message, command, file, device, request, timer or peer)",
    ["kind"],
    registry=None,
)
for _kind in get_args(Kind):
    faults.labels(_kind)

_logged: dict[tuple[str, str, str, int], float] = {}


def call(kind: Kind, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Calls `handler`; returns None if it failed."""
    try:
        return handler(*args, **kwargs)
    except Exception as error:
        failed(kind, getattr(handler, "__qualname__", repr(handler)), error)
        return None


async def run(kind: Kind, name: str, work: Awaitable[T]) -> T | None:
    """Awaits `work`; returns None if it failed. Only a cancellation of this task passes through."""
    try:
        return await work
    except asyncio.CancelledError as error:
        if _is_ours(asyncio.current_task()):
            raise
        failed(kind, name, error)  # a future was cancelled, not this task
        return None
    except Exception as error:
        failed(kind, name, error)
        return None


def start(
    group: asyncio.TaskGroup, kind: Kind, work: Coroutine[object, object, T], *, name: str
) -> asyncio.Task[T | None]:
    """A task of `group` that handles one input; its failure affects nothing else."""
    return group.create_task(run(kind, name, work), name=name)


def keep(group: asyncio.TaskGroup, kind: Kind, body: Callable[[], Awaitable[None]], *, name: str) -> asyncio.Task[None]:
    """A task of `group` that runs `body` until it returns; after a fault again, after a growing, jittered pause."""
    return group.create_task(_kept(kind, name, body), name=name)


def part(group: asyncio.TaskGroup, work: Coroutine[object, object, T], *, name: str) -> asyncio.Task[T]:
    """A task that is part of the block of `group`: what it raises ends the block, whose owner handles it."""
    return group.create_task(work, name=name)


def failed(kind: Kind, name: str, error: BaseException) -> None:
    """Counts a fault, and logs it with its traceback unless the same one was logged lately."""
    faults.labels(kind).inc()
    frames = traceback.extract_tb(error.__traceback__)
    where = (frames[-1].filename, frames[-1].lineno or 0) if frames else (name, 0)
    key = (kind, type(error).__name__, *where)
    now = monotonic()
    if now - _logged.get(key, float("-inf")) < LOG_AGAIN_SECONDS:
        return
    if len(_logged) >= _MOST_REMEMBERED:
        _logged.clear()
    _logged[key] = now
    log.get("supervisor").error("a fault was contained", kind=kind, name=name, exc_info=error)


async def _kept(kind: Kind, name: str, body: Callable[[], Awaitable[None]]) -> None:
    backoff = Backoff()
    while True:
        began = monotonic()
        try:
            return await body()
        except asyncio.CancelledError as error:
            if _is_ours(asyncio.current_task()):
                raise
            failed(kind, name, error)
        except Exception as error:
            failed(kind, name, error)
        await asyncio.sleep(backoff.pause(monotonic() - began))


def _is_ours(task: asyncio.Task[object] | None) -> bool:
    """Whether the cancellation that we caught was requested for this very task."""
    return task is None or task.cancelling() > 0
