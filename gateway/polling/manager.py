"""Starts and stops a poller for each device that is ours."""

import asyncio
from collections.abc import Callable, Collection

from gateway import metrics
from gateway.config.devices import ConfiguredDevice
from gateway.polling.poller import MayPoll, OnScan, Poller
from gateway.polling.slots import Slots
from gateway.polling.status import OnStatus
from nexus.process import guard, log
from nexus.process.errors import InvariantError

CANCEL_AGAIN_SECONDS = 2.5  # longer than drivers take to disconnect, which a second cancellation would cut short

OnChange = Callable[[ConfiguredDevice], None]


class PollerManager:
    """Pollers by the path of their device. Tasks belong to `group`."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        on_scan: OnScan,
        on_status: OnStatus,
        may_poll: MayPoll,
        *,
        on_start: OnChange,
        on_release: OnChange,
        slots: Slots,
    ) -> None:
        self._group = group
        self._on_scan = on_scan
        self._on_status = on_status
        self._on_start = on_start
        self._on_release = on_release
        self._may_poll = may_poll
        self._slots = slots
        self._running: dict[str, tuple[Poller, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def poller(self, path: str) -> Poller | None:
        """The poller of a device that is ours."""
        found = self._running.get(path)
        return found[0] if found else None

    async def apply(self, wanted: Collection[ConfiguredDevice]) -> None:
        """Polls exactly these from now on. Stops the others first; those that are the same objects go on."""
        by_path = {one.device.path: one for one in wanted}
        going = [path for path, (poller, _) in self._running.items() if by_path.get(path) is not poller.configured]
        for poller in await self._end(going):
            self._on_release(poller.configured)
        self._slots.share(len(by_path))
        coming = [one for path, one in by_path.items() if path not in self._running]
        ending = {task.get_name() for task in self._ending}
        for one in coming:
            if _task(one) in ending:
                raise InvariantError(f"{one.device.name} would be polled twice at once")
            poller = Poller(one, self._on_scan, self._on_status, self._may_poll, self._slots)
            task = guard.keep(self._group, "device", poller.run, name=_task(one))
            self._running[one.device.path] = (poller, task)
            self._on_start(one)
        metrics.owned.set(len(self._running))
        if going or coming:
            log.get("poller").info("polling", devices=len(self._running), started=len(coming), ended=len(going))

    async def stop(self, seconds: float) -> bool:
        """Stops all pollers; tells whether all have ended within so many seconds, whatever drivers do."""
        try:
            async with asyncio.timeout(seconds):
                await self._end(list(self._running))
                await _cancelled(self._ending)  # also those of an `apply` that was cut short
        except TimeoutError:
            names = sorted(task.get_name() for task in self._ending)
            log.get("poller").error("drivers did not release their devices in time", devices=names)
        return not self._ending

    async def _end(self, paths: list[str]) -> list[Poller]:
        ended = [self._running.pop(path) for path in paths]
        for _, task in ended:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        await _cancelled({task for _, task in ended})
        for poller, _ in ended:
            metrics.forget(poller.configured.device.name)
        return [poller for poller, _ in ended]


def _task(one: ConfiguredDevice) -> str:
    return f"device {one.device.name}"


async def _cancelled(pending: set[asyncio.Task[None]]) -> None:
    while pending:
        # Once is not enough: Python 3.11's wait_for swallows a cancellation that comes with its result.
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
