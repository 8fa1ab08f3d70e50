"""The worker of rules: it goes on under loads that fill the outbox, and keeps transactions small."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import mqtt5
import pytest

from ingestion.rules import outbox as outboxes
from ingestion.rules import worker as workers
from ingestion.rules.engine import Engine, Update
from ingestion.rules.files import load
from ingestion.rules.outbox import Outbox
from ingestion.rules.session import Session
from ingestion.rules.store import Row, Store
from ingestion.rules.worker import Worker
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading
from nexus.process.clock import now_ms

RULES = "rules: [{name: r, path: p/r, inputs: {x: p/d/x}, tags: [%s]}]"
FAN_OUT = 10


class Reads:
    """The reading side of a connection."""

    def __init__(self) -> None:
        self.is_paused = False

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def acknowledge(self, *_: int | None) -> None:
        pass


class Written:
    """Commits, and their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._last = 0

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
    return Worker(engine, cast(Store, store), outbox, asyncio.Event())


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
        worker = Worker(engine, cast(Store, Written()), outbox, asyncio.Event())
        session = Session("auto", "p", engine, outbox, received=worker.receive, written=asyncio.Event())
        for payload in (b"{}", b""):
            message = mqtt.Message(topic.receipt_offer("ingestion"), payload)
            session.receive(cast(mqtt.Connection, Reads()), message)
        outbox.taken(1)
        assert len(outbox) == 1

    asyncio.run(run())
