"""Starts and stops a poller for each device that is ours."""

import asyncio
from collections.abc import Callable, Collection, Iterable

from gateway import metrics
from gateway.config.devices import ConfiguredDevice
from gateway.polling.intake import Intake
from gateway.polling.permission import MayPoll
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.status import OnStatus
from nexus.process import log, supervisor
from nexus.process.errors import InvariantError

CANCEL_AGAIN_SECONDS = 2.5  # longer than drivers take to disconnect, which a second cancellation would cut short
MOMENT_SECONDS = 0.1  # how long new devices wait to be started together: thousands are not handled one by one

OnChange = Callable[[ConfiguredDevice], None]


class PollerManager:
    """Pollers by the path of their device. Tasks belong to `group`."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        intake_of: Callable[[ConfiguredDevice], Intake],
        on_status: OnStatus,
        may_poll: MayPoll,
        slots: Slots,
        *,
        on_start: OnChange,
        on_release: OnChange,
    ) -> None:
        self._group = group
        self._intake_of = intake_of
        self._on_status = on_status
        self._on_start = on_start
        self._on_release = on_release
        self._may_poll = may_poll
        self._slots = slots
        self._clock = asyncio.get_running_loop().time
        self._running: dict[str, tuple[Poller, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def poller(self, path: str) -> Poller | None:
        """The poller of a device that is ours."""
        found = self._running.get(path)
        return found[0] if found else None

    async def apply(self, wanted: Collection[ConfiguredDevice]) -> None:
        """Polls exactly these from now on; unchanged objects continue. Returns when the others have ended.

        A device begins when those have ended that had its path or its name before: one that hangs holds up no other.
        """
        by_path = {one.device.path: one for one in wanted}
        going = [path for path, (poller, _) in self._running.items() if by_path.get(path) is not poller.configured]
        coming = [one for path, one in by_path.items() if path in going or path not in self._running]
        self._refuse_twice(coming)
        ending = self._let_go(going)
        self._slots.share(len(by_path))
        left, cancel_at = coming, self._clock()
        while True:
            taken = {claim for poller in ending.values() for claim in _claims(poller.configured)}
            for one in left:
                if taken.isdisjoint(_claims(one)):
                    self._start(one)
            left = [one for one in left if one.device.path not in self._running]
            if not ending:
                break
            if self._clock() >= cancel_at:
                _cancel(ending)
                cancel_at += CANCEL_AGAIN_SECONDS
            await self._some_ended(ending)
        metrics.owned.set(len(self._running))
        if going or coming:
            log.get("poller").info("polling", devices=len(self._running), started=len(coming), ended=len(going))

    async def stop(self, seconds: float) -> bool:
        """Stops all pollers; tells whether all have ended within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                self._let_go(list(self._running))
                await _cancelled(self._ending)  # also those of an interrupted `apply`
        except TimeoutError:
            names = sorted(task.get_name() for task in self._ending)
            log.get("poller").error("drivers did not release their devices in time", devices=names)
        return not self._ending

    def _refuse_twice(self, coming: Collection[ConfiguredDevice]) -> None:
        ending = {task.get_name() for task in self._ending}
        for one in coming:
            if _task(one) in ending:
                raise InvariantError(f"{one.device.name} would be polled twice at once")

    def _start(self, one: ConfiguredDevice) -> None:
        poller = Poller(one, self._intake_of(one), self._on_status, self._may_poll, self._slots)
        task = supervisor.keep(self._group, "device", poller.run, name=_task(one))
        self._running[one.device.path] = (poller, task)
        self._on_start(one)

    def _let_go(self, paths: Collection[str]) -> dict[asyncio.Task[None], Poller]:
        """Cancels these pollers; they are in `_ending` until they have ended."""
        ended = {task: poller for poller, task in (self._running.pop(path) for path in paths)}
        for task in ended:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        return ended

    async def _some_ended(self, ending: dict[asyncio.Task[None], Poller]) -> None:
        """Removes pollers that end within a moment from `ending`."""
        done, _ = await asyncio.wait(ending, timeout=MOMENT_SECONDS)
        for task in done:
            poller = ending.pop(task)
            metrics.forget(poller.configured.device.name)
            self._on_release(poller.configured)


def _claims(one: ConfiguredDevice) -> tuple[str, str]:
    """What two pollers must not have at the same time: the device's name and path."""
    return f"path {one.device.path}", _task(one)


def _task(one: ConfiguredDevice) -> str:
    return f"device {one.device.name}"


async def _cancelled(pending: set[asyncio.Task[None]]) -> None:
    while pending:
        _cancel(pending)
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Once is not enough: Python 3.11's wait_for swallows a cancellation that comes with its result."""
    for task in tasks:
        task.cancel()
