"""One device's life: connect, scan on the grid, and on trouble wait as its breaker says."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import random
from time import time

from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from gateway import metrics
from gateway.breaker import Breaker, Delay, State
from gateway.config import BreakerKeys, Configured
from gateway.driver import DeviceError, Read, Tag
from gateway.schedule import Schedule
from nexus.contract.codec import State as DeviceState
from nexus.contract.codec import Status
from nexus.contract.reading import Quality, Reading
from nexus.runtime import log

# A scan may be many requests, each with the device's timeout; beyond this many of them it is hung.
HUNG_AFTER_TIMEOUTS = 10

OnScan = Callable[[Configured, list[Reading]], None]
OnStatus = Callable[[str, Status], None]


class Poller:
    """Polls one device until it is cancelled. No error of the device, or of its driver, leaves it."""

    def __init__(self, configured: Configured, on_scan: OnScan, on_status: OnStatus) -> None:
        self._configured = configured
        self._device = configured.device
        self._on_scan = on_scan
        self._on_status = on_status
        self._clock = asyncio.get_running_loop().time
        self._breaker = Breaker(configured.breaker.failures, _delay(configured.breaker))
        self._bad: set[str] = set()
        self._status: tuple[DeviceState, str] | None = None
        self._log = log.get("poller").bind(device=self._device.name)
        name = self._device.name
        self._readings = metrics.readings.labels(name)
        self._bad_readings = metrics.bad_readings.labels(name)
        self._failures = metrics.failures.labels(name)
        self._missed = metrics.missed.labels(name)
        self._scan_seconds = metrics.scan_seconds.labels(name)
        self._state = metrics.breaker.labels(name)
        self._openings = metrics.openings.labels(name)

    async def run(self) -> None:
        """Scans on the grid for ever; after a failure the connection is made anew."""
        tags = [(tag, tag.interval) for tag in self._device.tags]
        schedule = Schedule(tags, now=self._clock(), phase=random())  # noqa: S311  spreads load, guards nothing
        while True:
            await self._sleep_until(max(schedule.next_due, self._breaker.until))
            if not self._breaker.may_try(self._clock()):
                continue
            self._state.set(self._breaker.state)
            try:
                await self._connected(schedule)
            except DeviceError as error:
                self._fail(str(error))
            except Exception as error:  # a driver's fault must not stop the other devices
                if self._status is None or self._status[0] == "online":
                    self._log.exception("the driver failed")
                self._fail(f"internal error in the driver: {error!r}")
            schedule.take(self._clock())

    async def _connected(self, schedule: Schedule[Tag]) -> None:
        """Connects, then scans until something fails."""
        async with AsyncExitStack() as stack:
            read = await self._connect(stack)
            fresh = True
            while True:
                tick = schedule.take(self._clock())
                if tick.items:
                    metrics.lateness.observe(tick.lateness)
                    if tick.missed and not fresh:
                        self._missed.inc(tick.missed)
                    await self._scan(read, tick.items)
                fresh = False
                await self._sleep_until(schedule.next_due)

    async def _connect(self, stack: AsyncExitStack) -> Read:
        timeout = self._device.timeout
        try:
            async with asyncio.timeout(timeout):
                driver = self._configured.driver
                return await stack.enter_async_context(driver.connect(self._device, self._device.tags))
        except TimeoutError:
            raise DeviceError(f"no connection within {timeout:g} s") from None

    async def _scan(self, read: Read, tags: tuple[Tag, ...]) -> None:
        began = self._clock()
        deadline = self._device.timeout * HUNG_AFTER_TIMEOUTS
        try:
            async with asyncio.timeout(deadline):
                readings = await read(tags)
        except TimeoutError:
            raise DeviceError(f"a scan was not done within {deadline:g} s") from None
        self._scan_seconds.set(self._clock() - began)
        if self._breaker.succeed():
            self._log.info("device is back")
        self._state.set(State.CLOSED)
        self._publish(readings)
        for reading in readings:
            if reading.quality == Quality.GOOD:
                self._bad.discard(reading.tag)
            else:
                self._bad.add(reading.tag)
        if self._bad:
            some = ", ".join(sorted(self._bad)[:5]) + (" …" if len(self._bad) > 5 else "")
            self._say("degraded", f"{len(self._bad)} of {len(self._device.tags)} tags cannot be read: {some}")
        else:
            self._say("online", "")

    def _publish(self, readings: list[Reading]) -> None:
        self._readings.inc(len(readings))
        if bad := sum(reading.quality == Quality.BAD for reading in readings):
            self._bad_readings.inc(bad)
        self._on_scan(self._configured, readings)

    def _fail(self, reason: str) -> None:
        self._failures.inc()
        opened = self._breaker.fail(self._clock())
        self._state.set(self._breaker.state)
        if opened:
            self._openings.inc()
            now = _now()
            self._publish([tag.bad(now) for tag in self._device.tags])
        self._say("offline" if self._breaker.state is State.OPEN else "degraded", reason)

    def _say(self, state: DeviceState, reason: str) -> None:
        """Publishes and logs a change of state; an offline device's changing reasons are not worth a line each."""
        if self._status == (state, reason) or (state == "offline" and self._status and self._status[0] == "offline"):
            return
        was, self._status = self._status, (state, reason)
        self._on_status(self._device.path, Status(state, reason, _now()))
        if was is None or was[0] != state:
            (self._log.info if state == "online" else self._log.warning)(f"device {state}", reason=reason or None)

    async def _sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self._clock()))


def _delay(keys: BreakerKeys) -> Delay:
    wait = wait_exponential_jitter(keys.open_for, keys.max_open_for, jitter=keys.open_for / 2)
    state = RetryCallState(Retrying(), None, (), {})

    def delay(opening: int) -> float:
        state.attempt_number = opening
        return wait(state)

    return delay


def _now() -> int:
    return int(time() * 1000)
