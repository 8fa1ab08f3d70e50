"""One device's life, with a device that is not there: what it reads goes on, whatever fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import create_model

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, DeviceError, DeviceSession, Tag
from gateway.polling.intake import Intake
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from nexus.alarms.expression import parse
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.status import Status
from nexus.readings.definition import DerivedTag
from nexus.readings.report import Report

NO_SETTINGS = create_model("NoSettings")()
TAGS: tuple[Tag, ...] = tuple(Tag(name, None, interval=0.1) for name in "abc")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first scan comes after 0.05 s at most."""
    monkeypatch.setattr("gateway.polling.slots.random", lambda: 0.01)


class Run:
    """A poller on a device that reads as `read` says; what it published and said."""

    def __init__(
        self,
        read: Callable[[Sequence[Tag]], Awaitable[list[Reading]]],
        waited: Callable[[], float] | None = None,
        timeout: float = 1.0,
        tags: tuple[Tag, ...] = TAGS,
        rest: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.scans: list[dict[str, Any]] = []
        self.states: list[str] = []
        self.connections = 0
        self.breaker = BreakerKeys()
        self.derived: tuple[DerivedTag, ...] = ()
        self.tally = Tally()
        self.alarms: Any = None
        self._read, self._waited, self._rest = read, waited, rest
        self._timeout, self._tags = timeout, tags

    @asynccontextmanager
    async def _connect(self, _: Device) -> AsyncIterator[DeviceSession]:
        self.connections += 1

        async def write(_: Tag, value: Value) -> Value:
            return value

        yield DeviceSession(lambda tags: partial(self._read, tags), write, waited=self._waited, rest=self._rest)

    def _on_scan(self, _: ConfiguredDevice, readings: list[Reading]) -> None:
        self.scans.append({one.tag: one.value if one.quality == Quality.GOOD else Quality.BAD for one in readings})

    def _on_status(self, _: str, status: Status) -> None:
        self.states.append(status.state)

    async def until(self, done: Callable[[], bool]) -> "Run":
        device = Device("plc", "plc", "test", self._timeout, NO_SETTINGS, self._tags)
        driver = cast(Any, SimpleNamespace(connect=self._connect))
        configured = ConfiguredDevice(device, driver, self.breaker, PublishOptions("plc", "tag", {}), self.derived)
        intake = Intake(configured, self._on_scan, tally=self.tally, alarms=self.alarms)
        task = asyncio.create_task(Poller(configured, intake, self._on_status, lambda: True, Slots()).run())
        async with asyncio.timeout(10):
            while not done():
                assert not task.done()
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        return self


def good(tags: Sequence[Tag]) -> list[Reading]:
    return [Reading(tag.name, 1, 1.0) for tag in tags]


async def test_what_a_scan_read_is_published_and_only_the_rest_is_read_again() -> None:
    asked: list[list[str]] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        asked.append([tag.name for tag in tags])
        if len(tags) > 1:
            raise DeviceError("hung up", readings=good(tags[:1]))
        return good(tags)

    run = Run(read)
    await run.until(lambda: len(run.scans) >= 6)
    assert run.scans[:3] == [{"a": 1.0}, {"b": 1.0}, {"c": 1.0}]
    assert asked[:3] == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert set(run.states) == {"online"}


async def test_what_cannot_be_read_of_a_scan_is_bad_and_the_state_says_so_once() -> None:
    async def read(tags: Sequence[Tag]) -> list[Reading]:
        got = good([tag for tag in tags if tag.name == "a"])
        raise DeviceError("hung up", readings=got)

    run = Run(read)
    await run.until(lambda: len(run.scans) >= 6)
    assert run.scans[:2] == [{"a": 1.0}, {"b": Quality.BAD, "c": Quality.BAD}]
    assert run.states[-1] == "degraded"
    assert len(run.states) <= 3


@pytest.mark.parametrize("error", [RuntimeError("bug"), ValueError(), RecursionError(), MemoryError(), KeyError("x")])
async def test_no_fault_of_a_driver_ends_the_poller(error: Exception) -> None:
    calls = 0

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise error
        return good(tags)

    run = Run(read)
    await run.until(lambda: bool(run.scans))
    assert run.connections == 3


def rarely_read(read: Callable[[Sequence[Tag]], Awaitable[list[Reading]]], *intervals: float) -> Run:
    """A device of which tag `a` has the first of the intervals, and so on; its breaker is a quick one."""
    tags: tuple[Tag, ...] = tuple(
        Tag(name, None, interval=interval) for name, interval in zip("abc", intervals, strict=False)
    )
    run = Run(read, tags=tags)
    run.breaker = BreakerKeys.model_validate({"failures": 3, "open_for": "100ms", "max_open_for": "200ms"})
    return run


@pytest.mark.usefixtures("soon")
async def test_a_reading_that_is_due_once_an_hour_is_not_lost_by_a_moment_s_absence() -> None:
    calls = 0

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise DeviceError("refused")
        return good(tags)

    run = rarely_read(read, 3600.0)
    await run.until(lambda: bool(run.scans))
    assert (run.scans, run.states) == ([{"a": 1.0}], ["degraded", "online"])


@pytest.mark.usefixtures("soon")
async def test_the_rest_of_a_scan_that_was_lost_is_read_as_soon_as_the_device_is_back() -> None:
    calls = 0

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal calls
        calls += 1
        if calls < 3:
            error = DeviceError("no answer")
            error.readings = good(tags[:1]) if calls == 1 else []
            raise error
        return good(tags)

    run = rarely_read(read, 3600.0, 3600.0)
    await run.until(lambda: any(scan.get("b") == 1.0 for scan in run.scans))
    assert run.scans[:2] == [{"a": 1.0}, {"b": Quality.BAD}]


@pytest.mark.usefixtures("soon")
async def test_of_a_device_that_stays_away_bad_readings_come_long_before_the_next_hour() -> None:
    async def read(_: Sequence[Tag]) -> list[Reading]:
        raise DeviceError("refused")

    run = rarely_read(read, 3600.0, 7200.0)
    await run.until(lambda: "offline" in run.states and bool(run.scans))
    assert run.scans == [{"a": Quality.BAD, "b": Quality.BAD}]


@pytest.mark.usefixtures("soon")
async def test_what_was_said_bad_is_read_as_soon_as_the_device_is_back() -> None:
    asked: list[str] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        asked.append("".join(tag.name for tag in tags))
        if 1 < len(asked) < 8:  # the first one has both
            raise DeviceError("refused")
        return good(tags)

    run = rarely_read(read, 0.1, 3600.0)
    await run.until(lambda: run.scans.count({"a": 1.0, "b": 1.0}) + run.scans.count({"b": 1.0}) >= 2)
    assert asked[:2] == ["ab", "a"]
    assert {"a": Quality.BAD, "b": Quality.BAD} in run.scans


def test_a_scan_is_not_hung_while_it_waits_for_its_turn() -> None:
    """Ten timeouts are 0.2 s, and it waits for half a second."""
    began = 0.0

    def waited() -> float:
        return asyncio.get_running_loop().time() - began

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        await asyncio.sleep(0.5)
        return good(tags)

    async def scenario(waited: Callable[[], float] | None) -> Run:
        nonlocal began
        began = asyncio.get_running_loop().time()
        run = Run(read, waited, timeout=0.02)
        return await run.until(lambda: bool(run.scans) or "degraded" in run.states)

    assert asyncio.run(scenario(waited)).scans
    assert asyncio.run(scenario(None)).states == ["degraded"]


async def test_a_device_whose_turn_comes_later_is_asked_then_whatever_its_breaker_says() -> None:
    calls: list[float] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        calls.append(asyncio.get_running_loop().time())
        raise DeviceError("others share the line", again_in=0.2 if len(calls) > 5 else None)

    run = Run(read)
    run.breaker = BreakerKeys.model_validate({"open_for": "100ms", "max_open_for": "100ms"})
    await run.until(lambda: len(calls) >= 9)
    assert all(0.19 < after - then < 0.5 for then, after in pairwise(calls[6:]))
    assert run.states[-1] == "offline"


async def test_a_device_that_took_too_much_of_its_line_rests_between_scans_and_is_not_lost() -> None:
    times: list[float] = []

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        times.append(asyncio.get_running_loop().time())
        return good(tags)

    run = Run(read, rest=lambda: 0.35 if times else 0.0)
    await run.until(lambda: len(times) >= 4)
    assert all(after - then >= 0.34 for then, after in pairwise(times))
    assert (run.states, run.connections) == (["online"], 1)


async def test_derived_tags_are_published_counted_and_bad_when_the_device_is_lost() -> None:
    calls = 0

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise DeviceError("hung up")
        return [Reading(tag.name, calls, float(calls)) for tag in tags]

    run = Run(read)
    run.breaker = BreakerKeys.model_validate({"failures": 2, "open_for": "100ms", "max_open_for": "200ms"})
    run.derived = (
        DerivedTag("sum", "expression", parse("a + b")),
        DerivedTag("steady", "expression", parse("a * 0"), report=Report()),
        DerivedTag("starts", "count", parse("a > 2")),
    )
    await run.until(lambda: "offline" in run.states)
    assert [one.get("sum") for one in run.scans] == [2.0, 4.0, 6.0, Quality.BAD]
    assert [one.get("steady") for one in run.scans] == [0.0, None, None, Quality.BAD]
    assert [one["starts"] for one in run.scans] == [0, 0, 1, Quality.BAD]
    hours = run.tally.hours.values()
    assert sum(hour.read for hour in hours) == 3 * 6
    assert sum(hour.marked for hour in hours) == 6
    assert sum(hour.sent for hour in hours) == 3 * 6 + 6 - 2


class Heard:
    """Alarms that note what the poller tells them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def read(self, readings: Sequence[Reading]) -> None:
        self.told.append(f"read {len(readings)}")

    def marked(self, readings: Sequence[Reading]) -> None:
        self.told.append(f"marked {len(readings)}")

    def lost(self, reason: str) -> None:
        self.told.append(f"lost: {reason}")


async def test_alarms_see_every_value_before_report_by_exception_and_a_loss_before_what_it_marks_bad() -> None:
    scans = 0

    async def read(tags: Sequence[Tag]) -> list[Reading]:
        nonlocal scans
        scans += 1
        if scans > 3:
            raise DeviceError("no answer")
        return good(tags)

    quiet: tuple[Tag, ...] = tuple(Tag(name, None, interval=0.1, report=Report()) for name in "abc")
    run = Run(read, tags=quiet)
    run.breaker = BreakerKeys.model_validate({"failures": 2, "open_for": "100ms", "max_open_for": "200ms"})
    run.alarms = Heard()
    await run.until(lambda: "marked 3" in run.alarms.told)
    assert len(run.scans) == 2, "the unchanged ones were sent"
    told = list(dict.fromkeys(run.alarms.told))
    assert told == ["read 3", "lost: no answer", "marked 3"]
    assert run.alarms.told.count("read 3") == 3
