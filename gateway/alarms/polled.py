"""The alarms of one device, in its poller: without broker or database, and without the power to stop a poll."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from gateway.config.devices import ConfiguredDevice
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.machine import Change, RequestError
from nexus.contract.ack import Request
from nexus.contract.alarm import Record
from nexus.contract.reading import Reading
from nexus.process import log, supervisor
from nexus.process.clock import now_ms

MOST_WAITING = 100  # scans that wait until it is known how the alarms were before
LONGEST_TIMER = 60.0  # seconds, after which the wall clock is read again: it may have been set
NOT_OURS_SECONDS = 1.0
CLOCK_MS = 1000  # a larger jump against the monotonic clock means that the wall clock was set

Key = tuple[str, str]  # tag and name
Said = Callable[[Change], None]


class PolledAlarms:
    """Readings wait until `begin` supplies the earlier state of the alarms; `said` is called with each change."""

    def __init__(self, one: ConfiguredDevice, said: Said, may_poll: Callable[[], bool]) -> None:
        self.name, self.path = one.device.name, one.device.path
        self._definitions = one.alarms
        self.keys = frozenset((definition.tag, definition.name) for definition in one.alarms)
        self._said, self._may_poll = said, may_poll
        self._alarms: DeviceAlarms | None = None
        self._waiting: deque[tuple[Callable[[DeviceAlarms, int], list[Change]], int]] = deque(maxlen=MOST_WAITING)
        self._is_lost: bool | None = None  # not known yet
        self._loss: str | None = None  # why it is lost
        self._failing: set[Key] = set()
        self._log = log.get("alarms").bind(device=self.name)
        self._loop = asyncio.get_running_loop()
        self._offset = now_ms() - self._loop.time() * 1000
        self._due: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def errors(self) -> Mapping[Key, str]:
        """Why expressions have no result now."""
        return self._alarms.errors if self._alarms is not None else {}

    @property
    def chattered(self) -> int:
        """How often any of them began to chatter."""
        return sum(self._alarms.chattering.values()) if self._alarms is not None else 0

    @property
    def is_lost(self) -> bool:
        """Whether the device cannot be reached, and has given nothing since."""
        return self._is_lost is True

    def begin(self, records: Mapping[Key, Record]) -> None:
        """Continues from these records, with what was read meanwhile."""
        self._alarms = DeviceAlarms(self._definitions, records)
        waiting, self._waiting = self._waiting, deque()
        for work, now in waiting:
            self._run(work, now)
        if (reason := self._loss) is not None:  # this may have been one too many
            self._run(lambda alarms, now: alarms.lost(now, reason), self._now())
        self._arm(self._alarms)

    def read(self, readings: Sequence[Reading]) -> None:
        """Evaluates readings from the device."""
        if self._is_lost is not False:
            self._is_lost, self._loss = False, None
            self._do(lambda alarms, now: alarms.found(now))
        self._do(lambda alarms, now: alarms.read(readings, now))

    def marked(self, readings: Sequence[Reading]) -> None:
        """Evaluates readings that were marked bad without the device."""
        self._do(lambda alarms, now: alarms.read(readings, now))

    def lost(self, reason: str) -> None:
        """The device cannot be reached."""
        if self._is_lost is not True:
            self._is_lost, self._loss = True, reason
            self._do(lambda alarms, now: alarms.lost(now, reason))

    def ask(self, tag: str, name: str, request: Request) -> Change:
        """Carries out a person's request. Raises RequestError."""
        if self._alarms is None:
            raise RequestError("the earlier state of this device's alarms is not known yet: try again")
        if not self._may_poll():
            raise RequestError("it is not certain which gateway has this device now: try again")
        change = self._alarms.ask(tag, name, request, self._now())
        self._said(change)
        self._arm(self._alarms)
        return change

    def close(self) -> None:
        """The device is not polled here any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._alarms, self._timer = None, None
        self._waiting.clear()

    def _do(self, work: Callable[[DeviceAlarms, int], list[Change]]) -> None:
        now = self._now()
        if self._alarms is None:
            self._waiting.append((work, now))
            return
        self._run(work, now)
        if self._alarms.due != self._due:
            self._arm(self._alarms)
        if self._alarms.errors or self._failing:
            self._note_errors(self._alarms.errors)

    def _note_errors(self, errors: Mapping[Key, str]) -> None:
        """Logs once that an alarm cannot be evaluated, and once that it can be again."""
        for key in errors.keys() - self._failing:
            self._log.warning("an alarm cannot be evaluated", tag=key[0], alarm=key[1], reason=errors[key])
        for key in self._failing - errors.keys():
            self._log.info("an alarm is evaluated again", tag=key[0], alarm=key[1])
        self._failing = set(errors)

    def _run(self, work: Callable[[DeviceAlarms, int], list[Change]], now: int) -> None:
        if self._alarms is not None:
            for change in supervisor.call("device", work, self._alarms, now) or ():
                self._said(change)

    def _now(self) -> int:
        """The wall clock's time; the monotonic clock shows whether it was set."""
        now = now_ms()
        offset = now - self._loop.time() * 1000
        moved = offset - self._offset
        if abs(moved) > CLOCK_MS:
            self._offset = offset
            self._run(lambda alarms, _: alarms.clock_moved(round(moved)), now)
        return now

    def _arm(self, alarms: DeviceAlarms) -> None:
        """Sets the timer to when something changes without a reading."""
        self._due = alarms.due
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due is not None:
            left = max(0.01, (self._due - now_ms()) / 1000)
            self._timer = self._loop.call_later(min(left, LONGEST_TIMER), self._tick)

    def _tick(self) -> None:
        if self._alarms is None:
            return
        if not self._may_poll():  # another gateway may have the device now
            self._timer = self._loop.call_later(NOT_OURS_SECONDS, self._tick)
            return
        self._run(lambda alarms, now: alarms.tick(now), self._now())
        self._arm(self._alarms)
