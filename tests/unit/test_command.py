"""Commands: read strictly, executed once and in order, bounded a device, answered in one place only, and recorded."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import QoS
from msgspec import UNSET, UnsetType

from gateway.commands import command, request
from gateway.commands.command import Commands
from gateway.commands.request import parse
from gateway.commands.writing import Written
from gateway.drivers.driver import DeviceError, Tag, WriteError
from nexus import mqtt
from nexus.contract.reading import Value
from nexus.mqtt import Message

NOW = 1_700_000_000_000


def message(payload: bytes | dict[str, Any], topic: str = "cmd/plc/setpoint", **keys: Any) -> Message:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    keys = {"response_topic": "answer/me", "qos": QoS.AT_LEAST_ONCE, "packet_id": 1, **keys}
    return Message(topic, payload=data, **keys)


def test_a_request_says_who_asks_and_how_long_it_is_valid() -> None:
    found = parse(message({"v": 1, "by": "anna", "ts": NOW - 4000}), NOW)
    assert (found.value, found.by, found.seconds) == (1, "anna", 6.0)
    assert parse(
        message(
            {"v": True, "by": "anna"},
            user_properties=[("of", "x"), ("by", "berta"), ("by", "carl")],
            message_expiry_interval=3,
        ),
        NOW,
    ) == request.Request(True, "berta", 3.0)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "write the request like"),
        (b"12", 'write the request like {"v": 42}: `v` is a number, true, false or a text'),
        (b"null", "write the request like"),
        (b"[1]", "write the request like"),
        (b'{"v": null}', "write the request like"),
        (b'{"v": [1]}', "write the request like"),
        (b'{"v": {"v": 1}}', "write the request like"),
        (b'{"w": 1}', "write the request like"),
        (b'{"v": 1, "by": 5}', "write the request like"),
        (b'{"v": 1, "ts": "now"}', "write the request like"),
        (b'{"v": 1, "expected": [1]}', "`expected` like `v`, or null"),
        (b'{"v": 1, "expected": 1e999}', ""),
        (b'{"v": 1, "x": ' + b"[" * 4000 + b"]" * 4000 + b"}", "write the request like"),
        (b'{"v": "\xff"}', "write the request like"),
        (b'{"v": "\\ud800"}', "write the request like"),
        (b'{"v": NaN}', 'write the request like {"v": 42}: this is not JSON'),
        (b'{"v": ' + b"9" * 400 + b"}", "larger than anything a device holds"),
        (b'{"v": -' + b"9" * 5000 + b"}", ""),
        (b'{"v": 1e999}', ""),
        (b'{"v": "' + b"x" * 9000 + b'"}', "8192 are the most"),
        (b'{"v": 1, "by": "a\\u0000b"}', "printable"),
        (b'{"v": 1, "by": "' + b"a" * 200 + b'"}', "128 printable"),
        ({"v": 1, "ts": NOW - 11_000}, "was made 11 s ago"),
        ({"v": 1, "ts": NOW + 60_000}, "was made in 60 s"),
        ({"v": 1, "ts": 10**400}, "larger than anything"),
        ({"v": 1, "ts": 1e308}, "compare the two clocks"),
        ({"v": 1, "ts": -(2**63)}, "compare the two clocks"),
    ],
)
def test_what_is_no_request_is_refused_with_what_would_be_right(payload: Any, said: str) -> None:
    with pytest.raises(WriteError) as refused:
        parse(message(payload), NOW)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_retained_request_is_refused() -> None:
    with pytest.raises(WriteError, match="without the retain flag"):
        parse(message({"v": 1}, retain=True), NOW)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "by", "ts", "x"]), inner),
    max_leaves=6,
)


@given(
    st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()),
    st.none() | st.integers(0, 2**32 - 1),
)
def test_whatever_a_command_holds_it_is_a_request_or_refused(payload: bytes, expiry: int | None) -> None:
    try:
        found = parse(message(payload, message_expiry_interval=expiry), NOW)
    except WriteError:
        return
    assert isinstance(found.value, bool | int | float | str)
    assert 0 <= found.seconds <= request.VALID_SECONDS


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (81, "81 is outside the limits of tag t: 0 to 80"),
        (-1, "outside the limits"),
        (True, "is not a number"),
        ("off", "is not a number"),
        (float("nan"), "not a finite number"),
        (float("inf"), "not a finite number"),
        (10**400, "outside the limits"),
    ],
)
def test_limits_are_for_numbers(value: Value, said: str) -> None:
    with pytest.raises(WriteError, match=said):
        request.check(Tag("t", None, writable=True, low=0, high=80), value)


class Device:
    """A poller of a device that does as it is told, slowly if told so; and what it was told."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.configured = SimpleNamespace(device=SimpleNamespace(tags=(Tag("setpoint", None, writable=True, high=80),)))
        self.told: list[Value] = []
        self.free = asyncio.Event()
        self.free.set()
        self._error = error

    async def write(self, _: Tag, value: Value, expected: Value | UnsetType = UNSET) -> Written:
        if expected not in (UNSET, 5):
            return Written(False, 5, 5, NOW, "the value has changed", changed=True)
        self.told.append(value)
        await self.free.wait()
        if self._error is not None:
            raise self._error
        return Written(value != 13, 5, value if value != 13 else 5, NOW, None if value != 13 else "it holds 5")


class Plant:
    """Commands to devices, and what is published."""

    def __init__(self, group: asyncio.TaskGroup, **devices: Device) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.code = 0
        self.commands = Commands(
            group,
            devices.get,  # type: ignore[arg-type]
            lambda path: path == "orphan",
            lambda name, payload: self.records.append((name, json.loads(payload))),
        )

    async def publish(self, topic: str, payload: bytes, **_: object) -> "asyncio.Future[int]":
        self.sent.append((topic, json.loads(payload)))
        code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        code.set_result(self.code)
        return code

    def ask(self, payload: bytes | dict[str, Any], topic: str = "cmd/plc/setpoint", **keys: Any) -> None:
        self.commands.take(self, message(payload, topic, **keys))  # type: ignore[arg-type]

    async def answered(self, number: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.sent) >= number)
        return [answer for _, answer in self.sent]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def run(scenario: Callable[[asyncio.TaskGroup], Any]) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            await scenario(group)

    asyncio.run(main())


async def busy(group: asyncio.TaskGroup) -> tuple[Plant, Device]:
    """A device that is being told 1, and takes its time, while 2 waits."""
    device = Device()
    plant = Plant(group, plc=device)
    device.free.clear()
    plant.ask({"v": 1})
    plant.ask({"v": 2})
    await until(lambda: device.told)
    return plant, device


def test_a_write_is_answered_and_recorded_with_who_asked() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        plant = Plant(group, plc=Device())
        plant.ask({"v": 7, "by": "anna"})
        assert await plant.answered(1) == [{"ok": True, "v": 7, "ts": NOW, "was": 5}]
        plant.ask({"v": 13}, user_properties=[("by", "berta")])
        assert (await plant.answered(2))[1] == {"ok": False, "error": "it holds 5", "v": 5, "ts": NOW, "was": 5}
        plant.ask({"v": 81})
        assert "outside the limits" in (await plant.answered(3))[2]["error"]
        first, second, third = (record for _, record in plant.records)
        assert {topic for topic, _ in plant.records} == {"audit/plc/setpoint"}
        assert len({record["id"] for _, record in plant.records}) == 3
        assert (first["by"], first["value"], first["was"], first["now"], first["ok"]) == ("anna", 7, 5, 7, True)
        assert (second["by"], second["now"], second["ok"], second["error"]) == ("berta", 5, False, "it holds 5")
        assert (third["by"], third["ok"], third["event"]) == (None, False, "write")

    run(scenario)


def test_what_is_expected_goes_to_the_device_and_a_change_is_answered_and_recorded() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        device = Device()
        plant = Plant(group, plc=device)
        plant.ask({"v": 7, "expected": None})
        [answer] = await plant.answered(1)
        assert (answer["ok"], answer["changed"], answer["was"], device.told) == (False, True, 5, [])
        plant.ask({"v": 7, "expected": 5})
        assert (await plant.answered(2))[1]["ok"]
        assert [(record["was"], record["ok"]) for _, record in plant.records] == [(5, False), (5, True)]

    run(scenario)


@pytest.mark.parametrize("where", ["dev/plc/temperature", "cmd/other/setpoint", "answer", "xanswer/a", ""])
def test_who_wants_the_answer_elsewhere_gets_nothing_done(where: str) -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        device = Device()
        plant = Plant(group, plc=device)
        plant.ask({"v": 7}, response_topic=where)
        plant.ask({"v": 8}, response_topic=None)
        await until(lambda: device.told)
        assert (device.told, plant.sent) == ([8], [])

    run(scenario)


def test_one_slow_device_holds_up_no_other() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        slow, quick = Device(), Device()
        plant = Plant(group, slow=slow, quick=quick)
        slow.free.clear()
        for number in range(command.WAITING + 2):
            plant.ask({"v": number}, "cmd/slow/setpoint")
        answers = await plant.answered(2)
        assert all("too many writes wait" in answer["error"] for answer in answers)
        plant.ask({"v": 1}, "cmd/quick/setpoint")
        assert (await plant.answered(3))[2]["ok"]
        assert slow.told == [0]
        slow.free.set()
        await plant.answered(command.WAITING + 3)
        assert slow.told == list(range(command.WAITING))

    run(scenario)


def test_what_waited_too_long_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "VALID_SECONDS", 0.05)

    async def scenario(group: asyncio.TaskGroup) -> None:
        plant, device = await busy(group)
        await asyncio.sleep(0.1)
        device.free.set()
        _, second = await plant.answered(2)
        assert "expired" in second["error"]
        assert device.told == [1]

    run(scenario)


def test_a_flood_is_counted_and_nothing_else() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        device = Device()
        plant = Plant(group, plc=device)
        for _ in range(1000):
            plant.ask(b"")
        await asyncio.sleep(0.05)
        assert len(plant.sent) == command.COMMANDS_A_SECOND

    run(scenario)


@pytest.mark.parametrize(
    ("error", "said"),
    [(DeviceError("gone"), "gone"), (OverflowError("inf"), "internal error"), (RecursionError(), "internal error")],
)
def test_a_fault_in_a_write_is_answered_recorded_and_costs_nothing_else(error: Exception, said: str) -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        plant = Plant(group, plc=Device(error=error), other=Device())
        plant.ask({"v": 1})
        [answer] = await plant.answered(1)
        assert said in answer["error"]
        assert plant.records[0][1]["ok"] is False
        plant.ask({"v": 1}, "cmd/other/setpoint")
        assert (await plant.answered(2))[1]["ok"]

    run(scenario)


def test_an_answer_that_the_broker_refuses_is_said_and_that_is_all() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        plant = Plant(group, plc=Device())
        plant.code = mqtt.REFUSED + 7
        plant.ask({"v": 1})
        plant.ask({"v": 2})
        await plant.answered(2)

    with structlog.testing.capture_logs() as logs:
        run(scenario)
    said = [line for line in logs if line["event"] == "the answer could not be sent"]
    assert [(line["topic"], line["reason"]) for line in said] == [("answer/me", mqtt.reason(mqtt.REFUSED + 7))] * 2
    assert [line for line in logs if line["log_level"] == "error"] == []


def test_a_device_that_nobody_polls_is_answered_for_by_one() -> None:
    async def scenario(group: asyncio.TaskGroup) -> None:
        plant = Plant(group, plc=Device())
        plant.ask({"v": 1}, "cmd/strange/setpoint")
        plant.ask({"v": 1}, "cmd/orphan/setpoint")
        [answer] = await plant.answered(1)
        assert "no gateway polls this device" in answer["error"]

    run(scenario)


def test_a_stop_ends_what_waits_and_says_that_the_outcome_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "STOP_SECONDS", 0.05)

    async def scenario(group: asyncio.TaskGroup) -> None:
        plant, device = await busy(group)
        await plant.commands.stop()
        await until(lambda: plant.records)
        assert "not known" in plant.records[0][1]["error"]
        assert device.told == [1]

    run(scenario)
