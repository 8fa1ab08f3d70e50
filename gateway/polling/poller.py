"""Polls one device: connects, scans on schedule or takes reported changes, and rests while its breaker is open."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import ParamSpec, TypeVar

from msgspec import UNSET, UnsetType

from gateway import drivers, metrics
from gateway.commands.writing import Written, confirmed
from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import DeviceError, DeviceSession, NextChanges, Tag
from gateway.polling import permission
from gateway.polling.breaker import Breaker, State
from gateway.polling.descriptors import spared
from gateway.polling.gap import Gap
from gateway.polling.intake import Intake
from gateway.polling.permission import MayPoll, NotOursError
from gateway.polling.scans import Scans
from gateway.polling.schedule import FIRST_SECONDS, Schedule
from gateway.polling.slots import Slots
from gateway.polling.status import DeviceStatus, OnStatus
from gateway.polling.tally import Cause
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.status import TroubleKind
from nexus.process import supervisor
from nexus.process.backoff import delay
from nexus.process.clock import now_ms
from nexus.process.run import task_group

SILENCE_CHECK_SECONDS = 1.0

_UNCERTAIN = int(Quality.UNCERTAIN)  # an enum look-up per reading would cost more than everything else

P = ParamSpec("P")
T = TypeVar("T")


class Poller:
    """Polls one device until cancelled. No error of the device or its driver escapes."""

    def __init__(
        self,
        configured: ConfiguredDevice,
        intake: Intake,
        on_status: OnStatus,
        may_poll: MayPoll,
        slots: Slots,
    ) -> None:
        self.configured = configured
        self._intake = intake
        self._listened = False  # the device reported changes, so nothing was due on the schedule
        self._slots = slots
        self._device = configured.device
        self._may_poll = may_poll
        self._clock = asyncio.get_running_loop().time
        keys = configured.breaker
        self._breaker = Breaker(keys.failures, lambda opening: delay(opening, keys.open_for, keys.max_open_for))
        self._status = DeviceStatus(self._device, on_status)
        self._session: DeviceSession | None = None
        self._turn = asyncio.Lock()  # scans and the requests of a write take turns
        self._writing = asyncio.Lock()  # one write at a time, including its read-back
        self._unread: tuple[Tag, ...] = ()  # tags of a scan that failed
        self._worked = False  # whether this connection worked, and for more than a `_moment`
        self._partial = False  # whether part of the failed scan was read
        self._failure: tuple[str, TroubleKind] = ("", "")  # why
        self._unread_because: dict[str, str] = {}  # by tag, until a whole scan succeeds
        self._unread_kinds: dict[str, TroubleKind] = {}
        self._progressed = False  # whether this connection read part of a scan before it was lost
        self._gap = Gap()
        self._moment = min(FIRST_SECONDS, *(tag.interval for tag in self._device.tags))
        self._metrics = metrics.device(self._device.name)

    async def run(self) -> None:
        """Polls for ever; reconnects after a failure."""
        tags = [(tag, tag.interval) for tag in self._device.tags]
        schedule = Schedule(tags, now=self._clock(), spread=self._slots.spread())
        while True:
            # A connection that has worked until now is reopened at once: many devices close idle ones.
            if not self._worked:
                self._leave_unread(schedule)
                await self._slots.reached(max(schedule.next_due, self._breaker.until))
            if not self._breaker.may_try(self._clock()):
                continue
            self._metrics.breaker = self._breaker.state
            self._worked = False
            await permission.wait(self._may_poll)
            try:
                await self._connected(schedule)
            except NotOursError:
                pass  # so its state is not ours to publish
            except DeviceError as error:
                if self._may_poll() and not self._breaker.waits(self._clock(), error.again_in):
                    self._fail(str(error), error.kind)
            except Exception as error:  # a driver's fault must not stop the other devices
                self._status.broken(error)
                self._fail(f"internal error in {drivers.whose(self._device.protocol)}: {error!r}")
            self._metrics.breaker = self._breaker.state

    async def write(self, tag: Tag, value: Value, expected: Value | UnsetType = UNSET) -> Written:
        """Writes between two scans, in the tag's unit, and reads back; with `expected`, only if the tag has that value.

        Raises WriteError or DeviceError when nothing was written.
        """
        async with self._writing:
            if (session := self._session) is None or not self._may_poll():
                raise DeviceError(f"the device is not connected: {self._status.reason}")
            read, write = self._between_scans(session.compile((tag,))), self._between_scans(session.write)
            written = await confirmed(read, write, tag, value, self._device.timeout, expected=expected)
        if written.reading is not None:
            self._take([written.reading])
        return written

    def _between_scans(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        async def taking_turns(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                async with asyncio.timeout(self._device.timeout * 3), self._turn:
                    return await call(*args, **kwargs)
            except TimeoutError:
                raise DeviceError("the device did not answer in time", kind="timeout") from None

        return taking_turns

    def _leave_unread(self, schedule: Schedule[Tag]) -> None:
        """Schedules what was due and not read again after a pause; the rest of a partly read scan is bad until then."""
        now = self._clock()
        again, is_all_bad = now + self._breaker.delay(1), self._breaker.openings > 0
        if self._unread:
            schedule.put_back(again)
            if self._partial and self._may_poll():
                self._mark_bad(self._unread)
        due = schedule.take(now).due
        self._intake.unread("away", len(self._unread), now_ms())
        self._intake.unread(self._cause, 0 if self._listened else due, now_ms())
        self._unread, self._partial, self._listened = (), False, False
        schedule.put_back(again, everything=is_all_bad)

    @property
    def _cause(self) -> Cause:
        """Why nothing is read while there is no connection."""
        return "away" if self._breaker.state is State.CLOSED else "resting"

    def _mark_bad(self, tags: tuple[Tag, ...]) -> None:
        now = now_ms()
        readings = [tag.bad(now) for tag in tags]
        names = [tag.name for tag in tags]
        reason, kind = self._failure
        self._unread_because, self._unread_kinds = dict.fromkeys(names, reason), dict.fromkeys(names, kind)
        self._status.read(readings, names, self._unread_because, self._unread_kinds)
        self._intake.mark(readings)

    async def _connected(self, schedule: Schedule[Tag]) -> None:
        """Connects, then scans until something fails."""
        async with AsyncExitStack() as stack:
            session = await self._connect(stack)
            self._session, began = session, self._clock()
            self._progressed = False
            if session.certificate_days is not None:
                metrics.certificate_days.labels(self._device.name).set(session.certificate_days)
            try:
                if session.next_changes is not None:
                    self._listened = True
                    await self._listen(session, session.next_changes)
                else:
                    await self._poll(session, schedule)
            finally:
                self._session = None
                self._worked &= self._progressed or self._clock() - began >= self._moment

    async def _connect(self, stack: AsyncExitStack) -> DeviceSession:
        timeout = self._device.timeout
        try:
            async with asyncio.timeout(timeout):
                return await stack.enter_async_context(spared(self.configured.driver.connect(self._device)))
        except TimeoutError:
            asked = "is it on, does a firewall drop our packets, is `timeout` too short?"
            raise DeviceError(f"no connection within {timeout:g} s: {asked}", kind="timeout") from None

    async def _poll(self, session: DeviceSession, schedule: Schedule[Tag]) -> None:
        scans = Scans(session, self._device.timeout)
        if not self._unread:
            tick = schedule.take(self._clock())
            self._unread = tick.items
            self._intake.unread(self._cause, tick.skipped, now_ms())
        with scans.watched():
            await self._scan_on_time(session, schedule, scans)

    async def _scan_on_time(self, session: DeviceSession, schedule: Schedule[Tag], scans: Scans) -> None:
        while True:
            if self._unread:
                if rest := session.rest():
                    await asyncio.sleep(rest)
                if not self._may_poll():
                    await permission.wait(self._may_poll)
                await self._scan(scans, self._unread)
            await self._slots.reached(schedule.next_due)
            tick = schedule.take(self._clock())
            self._unread = tick.items
            metrics.lateness.observe(tick.lateness)
            if tick.missed:
                self._metrics.missed += tick.missed
                self._intake.unread("overran", tick.skipped, now_ms())

    async def _scan(self, scans: Scans, tags: tuple[Tag, ...]) -> None:
        began = self._clock()
        try:
            async with self._turn:
                readings = await scans.read(tags)
            await permission.check(self._may_poll)
        except DeviceError as error:
            if error.readings:
                self._take(list(error.readings))
                read = {reading.tag for reading in error.readings}
                self._unread = tuple(tag for tag in tags if tag.name not in read)
                self._progressed = self._partial = True
            raise
        self._metrics.scan_seconds = self._clock() - began
        self._unread, self._partial, self._unread_because = (), False, {}
        self._take(readings)

    async def _listen(self, session: DeviceSession, next_changes: NextChanges) -> None:
        """Takes the changes that the device reports; reads only what has been silent for too long."""

        async def listen() -> None:
            while True:
                heard = await next_changes()
                await permission.check(self._may_poll)
                self._take(self._gap.after(heard))

        async def watch() -> None:
            while True:
                await asyncio.sleep(SILENCE_CHECK_SECONDS)
                await permission.check(self._may_poll)
                await self._ask_silent(session)

        try:
            async with task_group(DeviceError, NotOursError) as group:
                supervisor.part(group, listen(), name=f"listen {self._device.name}")
                supervisor.part(group, watch(), name=f"watch {self._device.name}")
        except DeviceError as error:
            if self._may_poll():
                self._lose(error)
            raise

    async def _ask_silent(self, session: DeviceSession) -> None:
        now = now_ms()
        silent = self._intake.silent(now)
        if tags := tuple(tag for tag in self._device.tags if tag.name in silent):
            # Unchanged, and confirmed now.
            self._take([Reading(one.tag, now, one.value, one.quality) for one in await session.compile(tags)()])
        self._intake.confirm(silent)

    def _lose(self, error: DeviceError) -> None:
        """Marks all tags bad: the last reported values would otherwise pass for current ones."""
        tags = self._device.tags
        self._intake.lost(str(error))
        moments = self._gap.begin(now_ms() - int(error.silent_for * 1000), [tag.name for tag in tags])
        self._intake.mark([tag.bad(moments[tag.name]) for tag in tags])
        self._status.failed(str(error), error.kind, resting=False)

    def _take(self, readings: list[Reading]) -> None:
        """Processes readings: the device answered."""
        self._worked = True
        if self._breaker.succeed():
            self._metrics.breaker = State.CLOSED
        bad = [reading.tag for reading in readings if reading.quality < _UNCERTAIN]
        errors: Mapping[str, str] = self._session.tag_errors if self._session else {}
        kinds: Mapping[str, TroubleKind] = self._session.tag_kinds if self._session else {}
        if self._unread_because:
            errors, kinds = self._unread_because, self._unread_kinds
        self._status.read(readings, bad, errors, kinds)
        self._intake.take(readings, len(bad))

    def _fail(self, reason: str, kind: TroubleKind = "") -> None:
        self._metrics.failures += 1
        opened = self._breaker.fail(self._clock())
        is_lost = not (self._worked or self._partial) or self._breaker.state is State.OPEN
        if is_lost:
            self._intake.lost(reason)
        if opened:
            self._metrics.openings += 1
            now = now_ms()
            self._intake.mark([tag.bad(now) for tag in self._device.tags])
        self._failure = reason, kind
        if is_lost:
            self._status.failed(reason, kind, resting=self._breaker.state is State.OPEN)
