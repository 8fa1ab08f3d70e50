"""What is asked of an alarm is done for a person only, answered, and recorded whatever becomes of it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.alarms import requests
from gateway.alarms.requests import AlarmRequests
from nexus.alarms.machine import RequestError
from nexus.contract.ack import Request
from nexus.contract.codec import DecodeError
from nexus.requests.alarms import parse

ASKED = b'{"action": "acknowledge", "by": "anna"}'


def message(payload: bytes = ASKED, topic: str = "ack/plant/plc/t/high", **more: Any) -> Any:
    given = {"retain": False, "user_properties": [], "response_topic": "answer/x", "correlation_data": b"1"}
    return SimpleNamespace(topic=topic, payload=payload, **(given | more))


class Device:
    """Its alarm `high` of tag `t` can be acknowledged once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Request]] = []

    def ask(self, tag: str, name: str, request: Request) -> Any:
        if (tag, name) != ("t", "high"):
            raise RequestError("there is no such alarm")
        self.asked.append((tag, name, request))
        return SimpleNamespace(record=SimpleNamespace(state="acknowledged", ts=7))


class Gateway:
    """One that polls plant/plc; what it recorded and answered."""

    def __init__(self, group: asyncio.TaskGroup, *others: str) -> None:
        self.device, self.audit, self.answers = Device(), list[tuple[str, Any]](), list[Any]()
        alarms = SimpleNamespace(polled={"plant/plc": self.device}.get, messages=SimpleNamespace(stored=self._stored))
        self._requests = AlarmRequests(
            cast(Any, alarms),
            group,
            lambda path: path in others,
            lambda name, payload: self.audit.append((name, json.loads(payload))),
        )

    async def _stored(self) -> None: ...

    async def publish(self, _: str, payload: bytes, *, correlation: bytes) -> "asyncio.Future[int]":
        assert correlation == b"1"
        self.answers.append(json.loads(payload))
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.set_result(0)
        return answer

    def take(self, asked: Any) -> bool:
        return self._requests.take(cast(Any, self), asked)


async def test_a_request_is_done_answered_and_recorded() -> None:
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(group)
        assert gateway.take(message(user_properties=[("by", "bert")]))
    [(_, _, request)] = gateway.device.asked
    assert request.by == "bert", "the property counts more than the payload"
    assert gateway.answers == [{"ok": True, "state": "acknowledged", "ts": 7}]
    [(topic, audit)] = gateway.audit
    assert topic == "audit/plant/plc/t"
    wanted = {"event": "alarm acknowledge", "by": "bert", "ok": True, "alarm": "alarm/plant/plc/t/high"}
    assert {key: audit[key] for key in wanted} == wanted
    assert "seconds" not in audit


async def test_the_record_says_for_how_long_an_alarm_was_to_be_shelved() -> None:
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(group)
        gateway.take(message(b'{"action": "shelve", "by": "anna", "seconds": 20}'))
    [(_, audit)] = gateway.audit
    assert (audit["event"], audit["seconds"]) == ("alarm shelve", 20)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (message(b'{"action": "acknowledge"}'), "who asks"),
        (message(b'{"action": "acknowledge", "by": ""}'), "who asks"),
        (message(user_properties=[("by", "a\nb")]), "who asks"),
        (message(retain=True), "retained"),
        (message(b"no JSON"), "not JSON"),
        (message(topic="ack/plant/plc/t/low"), "no such alarm"),
        (message(topic="ack/plant/plc/lost"), "no such alarm"),
        (message(topic="ack/plant/other/t/high"), "no gateway evaluates"),
    ],
)
async def test_a_refused_request_is_answered_and_recorded_too(asked: Any, said: str) -> None:
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(group, "plant/other")
        assert gateway.take(asked)
    assert not gateway.device.asked
    [answer] = gateway.answers
    assert not answer["ok"]
    assert said in answer["error"]
    [(_, audit)] = gateway.audit
    assert (audit["ok"], audit["error"]) == (False, answer["error"])


@pytest.mark.parametrize(
    "asked",
    [
        message(topic="ack/elsewhere/t/high"),
        message(topic="ack/x"),
        message(b"", retain=True),
        message(response_topic="dev/plant/plc/t"),
    ],
)
async def test_what_is_for_another_gateway_or_wants_its_answer_elsewhere_is_not_answered(asked: Any) -> None:
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(group)
        assert gateway.take(asked)
    assert not gateway.device.asked
    assert not gateway.answers


async def test_a_flood_is_counted_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REQUESTS_A_SECOND", 3)
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(group)
        for _ in range(10):
            gateway.take(message())
    assert len(gateway.answers) == len(gateway.audit) == 3


async def test_other_messages_are_left_to_others() -> None:
    async with asyncio.TaskGroup() as group:
        assert not Gateway(group).take(message(topic="cmd/plant/plc/t"))


def test_a_name_is_bounded() -> None:
    with pytest.raises(DecodeError, match="200"):
        parse(message(user_properties=[("by", "x" * 201)]))
