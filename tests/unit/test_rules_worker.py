"""The worker of rules: it goes on under loads that fill the outbox, and keeps transactions small."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import mqtt5
import pytest

from ingestion.rules import outbox as outboxes
from ingestion.rules import worker as workers
from ingestion.rules.engine import Engine, Update
from ingestion.rules.evaluation import RuleState
from ingestion.rules.files import load
from ingestion.rules.outbox import Outbox
from ingestion.rules.progress import Progress
from ingestion.rules.requests import EXPIRED
from ingestion.rules.session import Session
from ingestion.rules.settings import Settings
from ingestion.rules.store import Row, Store
from ingestion.rules.worker import Worker
from nexus import mqtt
from nexus.contract import alarm, topic
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading
from nexus.process.clock import now_ms

RULES = "rules: [{name: r, path: p/r, inputs: {x: p/d/x}, tags: [%s]}]"
FAN_OUT = 10


class Reads:
    """The reading side of a connection."""

    session_present = True

    def __init__(self) -> None:
        self.is_paused = False
        self.acknowledged: list[int] = []
        self.answers: list[dict[str, object]] = []

    async def publish(self, _: str, payload: bytes, **__: object) -> asyncio.Future[int]:
        self.answers.append(json.loads(payload))
        taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        taken.set_result(0)
        return taken

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def acknowledge(self, *packet_ids: int | None) -> None:
        self.acknowledged += [one for one in packet_ids if one is not None]


class Written:
    """Commits, and their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.offers = 0
        self._last = 0

    async def remember_offer(self) -> None:
        self.offers += 1

    async def commit(self, update: Update, _: Sequence[int]) -> list[Row]:
        first = self._last + 1
        self._last += len(update.said)
        self.sizes.append(len(update.said))
        return [Row(first + index, one.topic, one.payload, one.retain) for index, one in enumerate(update.said)]


async def until(worker: Worker, condition: Callable[[], bool]) -> None:
    """Lets the worker run until `condition`, or fails after a while."""
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})


def made(folder: Path, store: Written, outbox: Outbox) -> Worker:
    file = folder / "rules.yaml"
    file.write_text(RULES % ", ".join(f"{{name: t{index}, expression: x + {index}}}" for index in range(FAN_OUT)))
    engine = Engine(load(file), 60_000, {}, [])
    engine.begin(now_ms())
    return Worker(engine, cast(Store, store), outbox, Progress(), asyncio.Event())


def flood(worker: Worker, reads: Reads, count: int, packet_id: int | None = None) -> None:
    """Until it is paused, as a connection does."""
    began = now_ms() - count
    for index in range(count):
        if not reads.is_paused:
            payload = encode_tag(Reading("x", began + index, float(index)))
            qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
            message = mqtt.Message("dev/p/d/x", payload, qos=qos, packet_id=packet_id)
            worker.receive(cast(mqtt.Connection, reads), message)


def test_a_full_outbox_is_never_waited_for_without_reading_its_receipts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_WAITING", 200)
    monkeypatch.setattr(workers, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(outboxes, "MOST", 300)

    async def run() -> None:
        reads, outbox = Reads(), Outbox([], 0)
        worker = made(tmp_path, Written(), outbox)
        flood(worker, reads, 1_000)
        assert reads.is_paused
        await until(worker, lambda: outbox.full and not reads.is_paused)
        flood(worker, reads, 1_000)
        assert len(worker) == 200, "what comes at QoS 0 meanwhile does not fill the memory"
        flood(worker, reads, 10, packet_id=1)
        assert len(worker) == 210, "what is not acknowledged is kept"

    asyncio.run(run())


def test_a_transaction_ends_with_the_message_that_says_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_SAID", 25)

    async def run() -> None:
        store, outbox = Written(), Outbox([], 0)
        worker = made(tmp_path, store, outbox)
        flood(worker, Reads(), 100)
        await until(worker, lambda: len(outbox) == 100 * FAN_OUT)
        assert max(store.sizes) == 30

    asyncio.run(run())


def test_receipts_are_awaited_once_they_were_offered_also_if_the_offer_is_lost() -> None:
    async def run() -> None:
        outbox = Outbox([Row(1, "dev/p/t", b"{}", False)], 1)
        engine = Engine([], 60_000, {}, [])
        store = Written()
        worker = Worker(engine, cast(Store, store), outbox, Progress(), asyncio.Event())
        own = Settings(receipts="auto")
        session = Session(own, "p", engine, outbox, Progress(), received=worker.receive, written=asyncio.Event())
        for payload in (b"{}", b""):
            message = mqtt.Message(topic.receipt_offer("ingestion"), payload)
            session.receive(cast(mqtt.Connection, Reads()), message)
        outbox.taken(1)
        assert len(outbox) == 1
        await until(worker, lambda: store.offers == 1)
        again = Outbox([Row(1, "dev/p/t", b"{}", False)], 1)
        again.offered = True  # as the database has it
        Session(own, "p", engine, again, Progress(), received=worker.receive, written=asyncio.Event())
        again.taken(1)
        assert len(again) == 1, "and so after a restart"

    asyncio.run(run())


MANY = 300


def test_a_message_for_many_rules_takes_several_transactions_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_SAID", 50)
    monkeypatch.setattr(workers, "SLICE_SECONDS", -1)
    file = tmp_path / "rules.yaml"
    rule = "  - {name: r%d, path: p/r%d, inputs: {x: p/d/x}, tags: [{name: t, expression: x}]}\n"
    file.write_text("rules:\n" + "".join(rule % (number, number) for number in range(MANY)))

    async def run() -> None:
        reads, store, outbox = Reads(), Written(), Outbox([], 0)
        engine = Engine(load(file), 60_000, {}, [])
        engine.begin(now_ms())
        worker = Worker(engine, cast(Store, store), outbox, Progress(), asyncio.Event())
        flood(worker, reads, 1, packet_id=7)
        turns, acknowledged = 0, []

        def done() -> bool:
            acknowledged.append((len(outbox), list(reads.acknowledged)))
            return len(worker) == 0 and bool(reads.acknowledged)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await until(worker, done)
        other.cancel()
        assert [size for size in store.sizes if size] == [50] * (MANY // 50)
        assert turns >= MANY, "the rest of the process had its turn after each rule"
        assert all(ids == [] or size == MANY for size, ids in acknowledged), "not before all of it is written"

    asyncio.run(run())


def test_timers_end_while_other_inputs_keep_coming(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules: [{name: r, path: p/r, inputs: {y: p/d/y}, alarms: [{name: long, when: y > 0, on_delay: 200ms}]},"
        " {name: s, path: p/s, inputs: {x: p/d/x}, tags: [{name: t, expression: x}]}]"
    )

    async def run() -> None:
        reads, outbox = Reads(), Outbox([], 0)
        engine = Engine(load(file), 60_000, {}, [])
        engine.begin(now_ms())
        worker = Worker(engine, cast(Store, Written()), outbox, Progress(), asyncio.Event())
        worker.subscribed(cast(mqtt.Connection, reads))
        payload = encode_tag(Reading("y", now_ms(), 1.0))
        worker.receive(cast(mqtt.Connection, reads), mqtt.Message("dev/p/d/y", payload))

        def is_raised() -> bool:
            flood(worker, reads, 1, packet_id=1)
            return "alarm/p/r/long" in outbox.alarms

        await until(worker, is_raised)

    asyncio.run(run())


def test_rules_of_earlier_files_are_unsubscribed_from() -> None:
    class Broker(Reads):
        session_present = True

        def __init__(self) -> None:
            super().__init__()
            self.said: list[tuple[str, ...]] = []

        async def unsubscribe(self, *filters: str) -> None:
            self.said.append(("-", *filters))

        async def subscribe_all(self, filters: Iterable[str], *, at_most_once: bool = False) -> list[str]:
            self.said.append(("0" if at_most_once else "1", *filters))
            return []

    async def run() -> None:
        broker = Broker()
        engine = Engine([], 60_000, {"p/old": RuleState()}, [])
        session = Session(
            Settings(receipts="none"),
            "p",
            engine,
            Outbox([], 0),
            Progress(),
            received=lambda *_: None,
            written=asyncio.Event(),
        )
        await session._subscribe(cast(mqtt.Connection, broker))
        assert broker.said[0] == ("-", "device/p/old", "ack/p/old/#")
        session.receive(cast(mqtt.Connection, broker), mqtt.Message("device/p/old", b"{}"))
        assert session.contested == set()

    asyncio.run(run())


DELAYED = "alarms: [{name: long, when: x > 0, on_delay: 60s}]"


def delayed(folder: Path, outbox: Outbox, progress: Progress) -> Worker:
    """Of a rule whose alarm is raised unless the input is 0 again within a minute."""
    file = folder / "rules.yaml"
    file.write_text(f"rules: [{{name: r, path: p/r, inputs: {{x: p/d/x}}, {DELAYED}}}]")
    engine = Engine(load(file), 600_000, {}, [])
    engine.begin(now_ms() - 600_000)
    return Worker(engine, cast(Store, Written()), outbox, progress, asyncio.Event())


def receive(worker: Worker, reads: Reads, time: int, value: float, packet_id: int | None = 1) -> None:
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    message = mqtt.Message("dev/p/d/x", encode_tag(Reading("x", time, value)), qos=qos, packet_id=packet_id)
    worker.receive(cast(mqtt.Connection, reads), message)


def ask(worker: Worker, reads: Reads, action: str) -> None:
    payload = json.dumps({"action": action, "by": "anna", "reason": "seen", "seconds": 60}).encode()
    if action == "acknowledge":
        payload = json.dumps({"action": action, "by": "anna"}).encode()
    message = mqtt.Message("ack/p/r/long", payload, response_topic="answer/anna")
    worker.receive(cast(mqtt.Connection, reads), message)


def test_a_broker_that_hesitates_amid_a_backlog_does_not_let_the_clock_leap(tmp_path: Path) -> None:
    async def run() -> None:
        reads, outbox, progress = Reads(), Outbox([], 0), Progress()
        clock = asyncio.get_running_loop().time
        worker = delayed(tmp_path, outbox, progress)
        worker.subscribed(cast(mqtt.Connection, reads))
        progress.marked(b"mark", now_ms(), clock())
        began, looks = now_ms() - 300_000, 0
        receive(worker, reads, began, 1.0)
        await until(worker, lambda: reads.acknowledged == [1])
        progress.heard(clock() - 10)

        def done() -> bool:
            nonlocal looks
            looks += 1
            if looks == 5:  # by then the worker has had its turns
                receive(worker, reads, began + 30_000, 0.0, packet_id=2)
            return reads.acknowledged == [1, 2]

        await until(worker, done)
        assert "alarm/p/r/long" not in outbox.alarms, "it was 0 again within the delay"
        receive(worker, reads, began + 60_000, 1.0, packet_id=3)
        progress.returned(b"mark", now_ms())
        await until(worker, lambda: "alarm/p/r/long" in outbox.alarms)

    asyncio.run(run())


def test_what_the_broker_sends_again_is_not_kept_twice(tmp_path: Path) -> None:
    """The database is slow, and the connection breaks again and again."""

    async def run() -> None:
        worker = made(tmp_path, Written(), Outbox([], 0))
        for _ in range(10):
            reads = Reads()
            flood(worker, reads, 100, packet_id=1)
            worker.subscribed(cast(mqtt.Connection, reads))
        assert len(worker) == 100
        reads = Reads()
        reads.session_present = False  # it has forgotten: ours are the only ones
        worker.subscribed(cast(mqtt.Connection, reads))
        assert len(worker) == 100

    asyncio.run(run())


def raised_at(topic: str, outbox: Outbox) -> tuple[str, int]:
    message = alarm.decode(topic, outbox.alarms[topic])
    return message.event, message.record.ts


def test_a_request_amid_a_backlog_has_its_own_time_and_leaves_the_others_theirs(tmp_path: Path) -> None:
    async def run() -> None:
        reads, outbox, progress = Reads(), Outbox([], 0), Progress()
        worker = delayed(tmp_path, outbox, progress)
        worker.subscribed(cast(mqtt.Connection, reads))
        asked, began = now_ms(), now_ms() - 300_000
        ask(worker, reads, "acknowledge")
        progress.marked(b"mark", now_ms(), asyncio.get_running_loop().time())
        receive(worker, reads, began, 1.0)
        receive(worker, reads, began + 120_000, 1.0, packet_id=2)
        await until(worker, lambda: reads.acknowledged == [1, 2])
        assert raised_at("alarm/p/r/long", outbox) == ("raised", began + 60_000)
        assert len(reads.answers) == 0
        progress.returned(b"mark", now_ms())
        await until(worker, lambda: len(reads.answers) == 1)
        assert reads.answers[0]["ok"] is True
        event, at = raised_at("alarm/p/r/long", outbox)
        assert event == "acknowledged"
        assert asked <= at <= now_ms()

    asyncio.run(run())


def test_a_request_that_waits_too_long_is_not_done_and_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "REQUEST_SECONDS", 0.1)

    async def run() -> None:
        reads, outbox, progress = Reads(), Outbox([], 0), Progress()
        worker = delayed(tmp_path, outbox, progress)
        worker.subscribed(cast(mqtt.Connection, reads))
        ask(worker, reads, "shelve")
        await until(worker, lambda: len(reads.answers) == 1)
        assert reads.answers == [{"ok": False, "error": EXPIRED}]
        assert not outbox.alarms

    asyncio.run(run())
