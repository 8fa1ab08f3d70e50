"""The alarms of one device in its poller: delays end by themselves, and a fault in them stops nothing."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.alarms import polled as module
from gateway.alarms.polled import PolledAlarms
from nexus.alarms.definition import Above, AlarmDefinition, Bad, Lost, When
from nexus.alarms.expression import parse
from nexus.alarms.machine import Change, RequestError
from nexus.contract.ack import Request
from nexus.contract.alarm import Record
from nexus.contract.reading import Quality, Reading
from nexus.process.clock import now_ms

HIGH = AlarmDefinition("high", "t", Above(80.0))


class Device:
    """One with these alarms, and what was said of them."""

    def __init__(self, *alarms: AlarmDefinition, may_poll: Callable[[], bool] = lambda: True) -> None:
        self.said: list[tuple[str, str]] = []
        one = SimpleNamespace(device=SimpleNamespace(name="plc", path="plant/plc"), alarms=alarms)
        self.polled = PolledAlarms(cast(Any, one), self._hear, may_poll)

    def _hear(self, change: Change) -> None:
        self.said.append((change.definition.name, change.event))

    def read(self, value: float, quality: int = Quality.GOOD) -> None:
        self.polled.read([Reading("t", 1, value, quality)])

    async def until(self, count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(10):
            while len(self.said) < count:
                await asyncio.sleep(0.005)
        return self.said


async def test_each_change_is_said_once() -> None:
    device = Device(HIGH)
    device.polled.begin({})
    for value in (79.0, 81.0, 82.0, 79.0, 78.0):
        device.read(value)
    assert device.said == [("high", "raised"), ("high", "cleared")]


async def test_a_delay_ends_without_a_reading() -> None:
    device = Device(AlarmDefinition("high", "t", Above(80.0), on_delay=0.03))
    device.polled.begin({})
    device.read(81.0)
    assert not device.said
    assert await device.until(1) == [("high", "raised")]


async def test_nothing_ends_by_itself_while_the_device_may_be_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOT_OURS_SECONDS", 0.01)
    ours = [False]
    device = Device(AlarmDefinition("high", "t", Above(80.0), on_delay=0.01), may_poll=lambda: ours[0])
    device.polled.begin({})
    device.read(81.0)
    await asyncio.sleep(0.1)
    assert not device.said
    ours[0] = True
    assert await device.until(1) == [("high", "raised")]


async def test_what_is_read_before_it_is_known_how_the_alarms_were_waits() -> None:
    device = Device(HIGH)
    for value in (81.0, 79.0, 81.0):
        device.read(value)
    assert not device.said
    with pytest.raises(RequestError, match="not known yet"):
        device.polled.ask("t", "high", Request("comment", by="anna"))
    device.polled.begin({("t", "high"): Record("acknowledged", 5, 5, 5, active=True)})
    assert device.said == [("high", "cleared"), ("high", "raised")]


async def test_a_lost_device_raises_its_own_alarm_and_no_alarm_of_bad_values() -> None:
    device = Device(AlarmDefinition("lost", "", Lost()), AlarmDefinition("bad", "t", Bad()))
    device.polled.begin({})
    device.read(1.0)
    device.polled.lost("no answer")
    device.polled.lost("no answer again")
    device.polled.marked([Reading("t", 2, None, Quality.BAD)])
    assert device.said == [("lost", "raised")]
    device.read(1.0)
    assert device.said == [("lost", "raised"), ("lost", "cleared")]


async def test_a_device_that_was_lost_before_a_restart_and_answers_is_found() -> None:
    device = Device(AlarmDefinition("lost", "", Lost()))
    device.polled.begin({("", "lost"): Record("unacknowledged", 5, 5, 5, active=True, acknowledged=False)})
    device.read(0.0, Quality.BAD)
    assert device.said == [("lost", "cleared")]


async def test_a_loss_counts_though_too_much_was_read_since_for_all_to_wait() -> None:
    device = Device(AlarmDefinition("lost", "", Lost()))
    device.polled.lost("no answer")
    for _ in range(module.MOST_WAITING):
        device.polled.marked([Reading("t", 2, None, Quality.BAD)])
    device.polled.begin({})
    assert device.said == [("lost", "raised")]


async def test_a_device_that_never_answered_is_lost() -> None:
    device = Device(AlarmDefinition("lost", "", Lost()))
    device.polled.begin({})
    device.polled.lost("no answer")
    assert device.said == [("lost", "raised")]


async def test_a_fault_costs_the_alarms_of_one_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(HIGH)
    device.polled.begin({})
    with monkeypatch.context() as patched:
        patched.setattr("nexus.alarms.device.DeviceAlarms.read", lambda *_: 1 / 0)
        device.read(81.0)
    assert not device.said
    device.read(81.0)
    assert device.said == [("high", "raised")]


async def test_a_closed_one_says_nothing_more() -> None:
    device = Device(AlarmDefinition("high", "t", Above(80.0), on_delay=0.01))
    device.polled.begin({})
    device.read(81.0)
    device.polled.close()
    device.read(81.0)
    await asyncio.sleep(0.05)
    assert not device.said


async def test_a_clock_that_is_set_ends_no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(AlarmDefinition("high", "t", Above(80.0), on_delay=60))
    device.polled.begin({})
    device.read(81.0)
    monkeypatch.setattr(module, "now_ms", lambda: now_ms() + 3_600_000)
    device.read(82.0)
    assert not device.said


async def test_an_expression_without_a_result_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    log = SimpleNamespace(warning=lambda text, **_: said.append(text), info=lambda text, **_: said.append(text))
    monkeypatch.setattr("gateway.alarms.polled.log.get", lambda _: SimpleNamespace(bind=lambda **_: log))
    device = Device(AlarmDefinition("odd", "t", When(parse("1 / (t - 5) > 0"))))
    device.polled.begin({})
    for value in (5.0, 5.0, 6.0, 5.0):
        device.read(value)
    assert list(device.polled.errors) == [("t", "odd")]
    again = "an alarm is evaluated again"
    assert said == ["an alarm cannot be evaluated", again, "an alarm cannot be evaluated"]
