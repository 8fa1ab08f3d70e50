"""The alarms of all devices: on disk before they leave, and neither raised again nor forgotten by a restart or a move."""

import asyncio
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway import metrics
from gateway.alarms import messages as module
from gateway.alarms import record_file, take_over
from gateway.alarms.alarms import Alarms
from gateway.alarms.polled import PolledAlarms
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from nexus.alarms.definition import Above, AlarmDefinition
from nexus.contract import alarm, codec
from nexus.contract.ack import Request
from nexus.contract.alarm import AlarmMessage, Record
from nexus.contract.reading import Reading
from nexus.process.clock import now_ms

TOPIC = "alarm/plant/plc/t/high"
HIGH = AlarmDefinition("high", "t", Above(80.0), priority="high", text="Bearing hot", response="Reduce speed")
LOW = AlarmDefinition("low", "t", Above(10.0))


def device(*alarms: AlarmDefinition) -> Any:
    options = SimpleNamespace(units={"t": "°C"})
    return SimpleNamespace(device=SimpleNamespace(name="plc", path="plant/plc"), alarms=alarms, publish_options=options)


class Broker:
    """Retains what it is told; its subscribers get what is retained. What it publishes is never in flight for long."""

    def __init__(self, retained: dict[str, bytes] | None = None) -> None:
        self.retained = dict(retained or {})
        self.take: Callable[[Any], object] = lambda _: None

    async def has_quota(self) -> None: ...

    async def publish(self, name: str, payload: bytes, *, retain: bool) -> "asyncio.Future[int]":
        assert retain
        self.keep(name, payload)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.set_result(0)
        return answer

    def keep(self, name: str, payload: bytes) -> None:
        if payload:
            self.retained[name] = payload
        else:
            self.retained.pop(name, None)

    async def subscribe(self, name: str) -> None:
        for topic, payload in self.retained.items():
            if topic.startswith(name.removesuffix("#")):
                self.take(SimpleNamespace(topic=topic, payload=payload, retain=True))

    async def unsubscribe(self, _: str) -> None: ...


class Gateway:
    """Alarms with an outbox that has everything at once, or nothing."""

    def __init__(self, folder: Path, group: asyncio.TaskGroup, broker: Broker | None, *, alone: bool) -> None:
        self.file = folder / "alarms-0.db"
        self.files, self.spooled, self.may_state = {"plant/plc"}, True, True
        self.said: list[tuple[str, str, bool]] = []
        self._broker = broker
        delivery = SimpleNamespace(
            publisher=SimpleNamespace(record=self._record),
            outbox=SimpleNamespace(is_safe=lambda _: self.spooled, spool=SimpleNamespace(number=0)),
            blocked=BlockedTopics(),
        )
        ownership = SimpleNamespace(
            has=lambda path: path in self.files, may_poll=lambda: True, may_state=lambda _: self.may_state
        )
        settings = SimpleNamespace(spool_dir=folder, is_one_of_several=not alone)
        self.alarms = Alarms(cast(Any, settings), cast(Any, delivery), ControlTopics(), ownership, group)

    def _record(self, name: str, payload: bytes, *, retain: bool = False) -> Batch:
        with sqlite3.connect(self.file) as database:
            stored = database.execute("SELECT payload FROM event WHERE topic = ?", (name,)).fetchall()
        assert (payload,) in stored, "a message leaves before the disk has it"
        message = alarm.decode(name, payload)
        self.said.append((message.event, message.record.state, retain))
        if self._broker is not None and retain:
            self._broker.keep(name, payload)
        return Batch(name, payload, 1, 1, retain=retain)

    async def polled(self, *alarms: AlarmDefinition) -> PolledAlarms:
        found = self.alarms.of(device(*alarms))
        assert found is not None
        return found

    async def settled(self, count: int) -> None:
        """So many messages have left, and the spool has them."""
        await self.until(lambda: len(self.said) == count and not events(self.file))

    def message(self) -> AlarmMessage | None:
        return self.alarms.messages.by_key("plant/plc").get(("t", "high"))

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def gateway(folder: Path, broker: Broker | None = None, *, alone: bool = True) -> AsyncIterator[Gateway]:
    """Runs until the block is left; then it is gone as if it was killed."""
    async with asyncio.TaskGroup() as group:
        own = Gateway(folder, group, broker, alone=alone)
        await own.alarms.open()
        tasks = [group.create_task(own.alarms.messages.run())]
        if broker is not None:
            broker.take = own.alarms.take_over.handle
            tasks.append(group.create_task(own.alarms.serve(cast(Any, broker))))
        try:
            yield own
        finally:
            for task in tasks:
                task.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_over, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(take_over, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)


def reading(value: float) -> list[Reading]:
    return [Reading("t", now_ms(), value)]


async def test_a_message_leaves_retained_once_the_disk_has_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        polled = await own.polled(HIGH)
        polled.read(reading(81.0))
        await own.until(lambda: bool(own.said))
        message = own.message()
    assert own.said == [("raised", "unacknowledged", True)]
    assert message is not None
    assert (message.priority, message.text, message.response, message.unit) == (
        "high",
        "Bearing hot",
        "Reduce speed",
        "°C",
    )


async def test_a_restart_neither_raises_again_nor_forgets(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        polled = await own.polled(HIGH)
        polled.read(reading(81.0))
        await own.settled(1)
        polled.ask("t", "high", Request("acknowledge", by="anna"))
        await own.settled(2)
        before = own.message()
    async with gateway(tmp_path) as own:
        polled = await own.polled(HIGH)
        polled.read(reading(82.0))
        await asyncio.sleep(0.1)
        assert own.said == []
        assert own.message() == before
        polled.read(reading(70.0))
        await own.until(lambda: bool(own.said))
    assert own.said == [("cleared", "normal", True)]


async def test_a_standing_alarm_has_the_texts_that_the_file_has_now(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
    broker = Broker()
    async with gateway(tmp_path, broker) as own:
        await own.polled(dataclasses.replace(HIGH, text="Bearing too hot", priority="critical"))
        await own.until(lambda: TOPIC in broker.retained)
        assert own.said == [], "it is no event"
    message = alarm.decode(TOPIC, broker.retained[TOPIC])
    assert (message.record.state, message.text, message.priority) == ("unacknowledged", "Bearing too hot", "critical")


async def test_an_event_that_did_not_reach_the_spool_is_published_by_the_next_process(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        own.spooled = False
        (await own.polled(HIGH)).read(reading(81.0))
        await own.until(lambda: bool(own.said))
    async with gateway(tmp_path) as own:
        assert own.said == [("raised", "unacknowledged", False)]
        await own.until(lambda: not events(own.file))
    async with gateway(tmp_path) as own:
        assert own.said == []


async def test_what_no_gateway_can_have_written_is_left_out(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
    with sqlite3.connect(own.file) as database:
        database.executemany("INSERT INTO event VALUES (?, ?, ?)", [(90, "x", b"{}"), (91, b"y", "{}"), (92, "", b"")])
        database.executemany("INSERT INTO word VALUES (?, ?)", [("x", b"no JSON"), (b"y", 5), ("", b"")])
        database.execute("INSERT INTO device VALUES (?)", (b"z",))
    async with gateway(tmp_path) as own:
        message = own.message()
        assert message is not None
        assert message.record.state == "unacknowledged"
        assert own.said == []


def events(file: Path) -> list[tuple[bytes]]:
    with sqlite3.connect(file) as database:
        return database.execute("SELECT payload FROM event").fetchall()


@pytest.fixture
def raised() -> AlarmMessage:
    began = now_ms() - 5000
    record = Record("acknowledged", began, began, began, active=True, value=81.0, limit=80.0, by="anna")
    return AlarmMessage("plant/plc", "t", "high", record, "acknowledged", "high", HIGH.text, HIGH.response, "°C")


@pytest.mark.parametrize("alone", [True, False])
async def test_a_device_that_is_taken_over_goes_on_from_what_is_retained(
    tmp_path: Path, raised: AlarmMessage, alone: bool
) -> None:
    retained = codec.numbered(alarm.encode(raised), "ab" * 16, 17, 1)  # as it left live
    async with gateway(tmp_path, Broker({TOPIC: retained}), alone=alone) as own:
        (await own.polled(HIGH)).read(reading(82.0))
        await own.until(lambda: own.message() == raised)
        await asyncio.sleep(0.1)
    assert own.said == []


async def test_a_broker_that_is_away_stops_no_alarm(tmp_path: Path) -> None:
    async with gateway(tmp_path, alone=False) as own:
        (await own.polled(HIGH)).read(reading(82.0))
        await own.until(lambda: bool(own.said))
    assert own.said == [("raised", "unacknowledged", True)]


async def test_forged_messages_do_not_count_and_are_overwritten(tmp_path: Path, raised: AlarmMessage) -> None:
    forged = replace(
        raised, record=replace(raised.record, ts=now_ms() + 5_000, state="shelved", until=now_ms() + 10**6)
    )
    before = metrics.registry.get_sample_value("nexus_gateway_alarm_words_ignored_total", {"reason": "forged"}) or 0
    async with gateway(tmp_path) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
    broker = Broker({TOPIC: alarm.encode(forged), "alarm/plant/plc/t/low": b"no JSON"})
    async with gateway(tmp_path, broker) as own:
        (await own.polled(HIGH, LOW)).read(reading(9.0))
        await own.until(lambda: "alarm/plant/plc/t/low" not in broker.retained)
        await own.until(lambda: own.said == [("cleared", "returned", True)])
        await own.until(lambda: alarm.decode(TOPIC, broker.retained[TOPIC]).record.state == "returned")
    after = metrics.registry.get_sample_value("nexus_gateway_alarm_words_ignored_total", {"reason": "forged"}) or 0
    assert after - before >= 1  # the other may be overwritten before it is read


async def test_all_messages_are_retained_again_after_each_connection(tmp_path: Path) -> None:
    async with gateway(tmp_path) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
    broker = Broker()  # it lost everything
    async with gateway(tmp_path, broker) as own:
        await own.polled(HIGH)
        await own.until(lambda: TOPIC in broker.retained)
    assert alarm.decode(TOPIC, broker.retained[TOPIC]).record.state == "unacknowledged"


async def test_a_message_that_went_by_way_of_the_disk_is_retained_all_the_same(
    tmp_path: Path, raised: AlarmMessage
) -> None:
    broker = Broker()
    async with gateway(tmp_path, broker) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.until(lambda: TOPIC in broker.retained)
        broker.retained.clear()
        batch = Batch(TOPIC, b"{}", 1, 1, in_flight=True, retain=True)
        own.alarms.messages.retained.live("plant/plc", TOPIC, batch)
        await asyncio.sleep(0.05)
        assert not broker.retained  # it may still arrive
        batch.in_flight = batch.retain = False  # as the outbox does with what is to be sent again
        own.alarms.messages.retained.say("plant/plc", "alarm/plant/plc/other")
        await own.until(lambda: TOPIC in broker.retained)


async def test_an_alarm_that_left_the_files_ends_and_is_cleared(tmp_path: Path) -> None:
    broker = Broker()
    async with gateway(tmp_path, broker) as own:
        (await own.polled(HIGH, LOW)).read(reading(81.0))
        await own.until(lambda: len(own.said) == 2)
        own.alarms.release("plant/plc")
        await own.polled(LOW)
        await own.until(lambda: TOPIC not in broker.retained and not own.alarms.problems())
        assert own.said[2:] == [("removed", "normal", False)]
        assert "alarm/plant/plc/t/low" in broker.retained
        own.files.clear()
        own.alarms.release("plant/plc")
        await own.until(lambda: not broker.retained)
        await own.until(lambda: not messages(own.file))
    assert own.said[3:] == [("removed", "normal", False)]


def messages(file: Path) -> list[tuple[bytes]]:
    with sqlite3.connect(file) as database:
        return database.execute("SELECT payload FROM word").fetchall()


async def test_an_alarm_that_left_the_files_ends_once_though_the_broker_still_retained_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_over, "QUIET_SECONDS", 0.3)
    broker = Broker()
    async with gateway(tmp_path, broker) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.until(lambda: TOPIC in broker.retained)
        own.alarms.release("plant/plc")
        await own.polled(LOW)
        await own.until(lambda: not messages(own.file))
        await asyncio.sleep(0.4)
    assert own.said == [("raised", "unacknowledged", True), ("removed", "normal", False)]


async def test_a_removal_is_newer_than_what_it_ends_whatever_the_clock_says(
    tmp_path: Path, raised: AlarmMessage
) -> None:
    ahead = now_ms() + 30_000
    broker = Broker({TOPIC: alarm.encode(replace(raised, record=replace(raised.record, ts=ahead)))})
    async with gateway(tmp_path, broker, alone=False) as own:
        await own.polled(HIGH)
        await own.until(lambda: own.message() is not None)
        own.alarms.release("plant/plc")
        await own.polled(LOW)
        await own.until(lambda: ("removed", "normal", False) in own.said)
        [gone] = [alarm.decode(TOPIC, payload) for (payload,) in events(own.file) if b'"removed"' in payload]
    assert gone.record.ts > ahead


async def test_in_a_group_what_another_gateway_said_of_alarms_that_are_no_more_ends(
    tmp_path: Path, raised: AlarmMessage
) -> None:
    broker = Broker({TOPIC: alarm.encode(raised)})
    async with gateway(tmp_path, broker, alone=False) as own:
        assert own.alarms.of(device()) is None
        await own.until(lambda: TOPIC not in broker.retained)
    assert own.said == [("removed", "normal", False)]


async def test_a_device_that_left_the_files_while_the_gateway_was_away(tmp_path: Path) -> None:
    async with gateway(tmp_path, Broker()) as own:
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
    broker = Broker({TOPIC: b"{}"})
    async with asyncio.TaskGroup() as group:
        own = Gateway(tmp_path, group, broker, alone=True)
        own.files.clear()
        await own.alarms.open()
        tasks = [group.create_task(own.alarms.messages.run()), group.create_task(own.alarms.serve(cast(Any, broker)))]
        await own.until(lambda: not broker.retained and not messages(own.file))
        for task in tasks:
            task.cancel()
    assert own.said == [("removed", "normal", False)]


async def test_the_last_messages_of_a_device_leave_before_another_gateway_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path) as own:
        polled = await own.polled(HIGH)
        polled.read(reading(81.0))
        await own.settled(1)
        said: list[tuple[str, bool]] = []

        def record(name: str, payload: bytes, *, retain: bool) -> Batch:
            said.append((alarm.decode(name, payload).event, retain))
            return Batch(name, payload, 1, 1)

        monkeypatch.setattr(own.alarms.messages, "_record", record)
        polled.read(reading(70.0))
        own.alarms.release("plant/plc")
        assert said == [("cleared", True)]
        await asyncio.sleep(0.1)
        assert len(said) == 1


async def test_a_gateway_that_may_not_speak_of_a_device_now_retains_nothing(tmp_path: Path) -> None:
    broker = Broker()
    async with gateway(tmp_path, broker) as own:
        own.may_state = False
        (await own.polled(HIGH)).read(reading(81.0))
        await own.settled(1)
        await asyncio.sleep(0.1)
        assert (own.said, broker.retained) == ([("raised", "unacknowledged", False)], {})
        own.may_state = True
        await own.until(lambda: TOPIC in broker.retained)


async def test_a_disk_that_refuses_stops_no_alarm_and_health_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path) as own:
        polled = await own.polled(HIGH)
        said: list[str] = []

        def record(name: str, payload: bytes, *, retain: bool) -> Batch:
            said.append(name)
            return Batch(name, payload, 1, retain=retain)

        def write(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(own.alarms.messages, "_record", record)
        monkeypatch.setattr("gateway.alarms.record_file.write", write)
        polled.read(reading(81.0))
        await own.until(lambda: bool(said))
        assert "disk full" in own.alarms.problems()[0]


async def test_a_thousand_alarms_at_once_are_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [AlarmDefinition(f"a{number}", "t", Above(80.0)) for number in range(1000)]
    writes: list[int] = []
    async with gateway(tmp_path) as own:
        polled = await own.polled(*many)
        await own.until(lambda: bool(own.alarms.counts()))
        real = record_file.write

        def write(database: sqlite3.Connection, update: record_file.Update) -> None:
            writes.append(len(update.events))
            real(database, update)

        monkeypatch.setattr(record_file, "write", write)
        monkeypatch.setattr(own.alarms.messages, "_record", lambda name, *_, **__: Batch(name, b"{}", 1, 1))
        polled.read(reading(81.0))
        await own.until(lambda: sum(writes) == 1000)
    assert max(writes) == 1000
    assert own.alarms.counts()["plc"].states == {"unacknowledged": 1000}
