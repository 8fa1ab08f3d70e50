"""What waits for the database is bounded, and acknowledged when it is committed, in its order."""

import asyncio
import gc
import signal
import sys
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingestion import metrics
from ingestion.consume import pipeline
from ingestion.consume.batch import Batch, Delivery
from ingestion.consume.pipeline import Pipeline
from ingestion.consume.receipts import Receipts
from ingestion.decode.decoders import Decoders, Rule
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import parsed
from ingestion.settings import Settings
from ingestion.store.lateness import Lateness, LatenessMonitor
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from nexus.process.errors import InvariantError
from tests.deliveries import delivery

ALL_ON_TIME = Lateness(0, 0)
PAYLOAD = b'{"v":"%s","ts":%d}'


def lateness(known: Lateness | None = ALL_ON_TIME) -> LatenessMonitor:
    monitor = LatenessMonitor("")
    monitor.latest = known
    return monitor


def pipeline_of(settings: Settings, writers: list[Any], known: LatenessMonitor | None = None) -> Pipeline:
    encoding, known = Encoding(Decoders(())), known or lateness()
    return Pipeline(settings, encoding, Quota(), known, writers=writers, receipts=Receipts("g"))


class Database:
    """A writer whose database is slow: it stores when it is let to."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.stored = 0

    async def write(self, batch: Batch, _: int = 1) -> Written:
        await self.free.wait()
        self.stored += batch.points
        return Written(batch.points, 0, 0)


async def test_messages_that_wait_are_bounded_in_bytes_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = PAYLOAD % (b"x" * 300, int(time.time() * 1000))
    monkeypatch.setattr(pipeline, "MOST_BYTES", 10 * delivery("dev/10/t", payload).size)
    acknowledged: list[int | None] = []

    database, room = Database(), asyncio.Event()
    writer: Any = database  # as far as a pipeline knows
    line = pipeline_of(Settings(batch_seconds=0.01), [writer])
    running = asyncio.create_task(line.run())
    taken = 0
    while not line.full:
        line.receive(delivery(f"dev/{taken}/t", payload, taken, acknowledged))
        taken += 1
        line.when_room(room.set)
        await asyncio.sleep(0)
        assert taken < 30, "more waits than the bytes allow"
    assert taken > 15, "as much again as is decoded may wait undecoded"
    assert acknowledged == [], "nothing is committed yet"
    database.free.set()
    line.finish()
    async with asyncio.timeout(20):
        await running
    assert room.is_set()
    assert database.stored == taken
    assert acknowledged == list(range(taken))


def test_a_stop_while_all_room_is_taken_waits_for_the_database_and_blocks_nothing() -> None:
    """One writer has all that may be decoded, the other one has nothing to do, and messages are held."""
    payload = PAYLOAD % (b"x", int(time.time() * 1000))
    acknowledged: list[int | None] = []

    async def scenario() -> None:
        databases = [Database(), Database()]
        writers: list[Any] = list(databases)
        settings = Settings(batch_points=10, buffer_points=10, batch_seconds=0.01)
        line = pipeline_of(settings, writers)
        running = asyncio.create_task(line.run())
        for number in range(25):
            line.receive(delivery(f"dev/{number}/t", payload, number, acknowledged))
        await asyncio.sleep(0.05)
        line.finish()
        await asyncio.sleep(0.05)
        assert not running.done()
        assert acknowledged == []
        for database in databases:
            database.free.set()
        await running
        assert acknowledged == list(range(25))
        assert sum(database.stored for database in databases) == 25

    within(20, scenario)


def test_a_stop_ends_once_the_held_messages_are_the_brokers_again() -> None:
    async def scenario() -> None:
        database = Database()
        writer: Any = database
        settings = Settings(batch_points=10, buffer_points=10, batch_seconds=0.01)
        line = pipeline_of(settings, [writer, writer])
        running = asyncio.create_task(line.run())
        for number in range(25):
            line.receive(delivery(f"dev/{number}/t", PAYLOAD % (b"x", int(time.time() * 1000)), number + 1))
        await asyncio.sleep(0.05)
        line.finish()
        await asyncio.sleep(0)
        line.forget_undecoded(0)
        database.free.set()
        await running
        assert database.stored == 10

    within(20, scenario)


def test_a_message_counts_with_all_the_bytes_that_its_topic_takes() -> None:
    topic = "dev/" + "\N{GRINNING FACE}" * 16_000
    assert delivery(topic, b"1").size >= sys.getsizeof(topic) + len(topic.encode())


async def test_only_what_the_broker_sends_again_is_forgotten() -> None:
    database = Database()
    line = pipeline_of(Settings(batch_seconds=0.01), [database], lateness(None))
    payload = PAYLOAD % (b"x", int(time.time() * 1000))
    for session, packet_id in ((1, 1), (2, 2), (2, None)):
        line.receive(delivery(f"dev/{session}/t", payload, packet_id, session=session))
    line.forget_undecoded(2)
    assert [(one.session, one.packet_id) for one in line._undecoded] == [(1, 1), (2, None)]
    line.forget_undecoded(1)
    assert line._undecoded_bytes == sum(one.size for one in line._undecoded) == line._undecoded[0].size


async def test_the_oldest_message_counts_also_while_nothing_can_be_decoded() -> None:
    line = pipeline_of(Settings(), [], lateness(None))
    assert line._age() == 0
    line.receive(delivery("dev/a/t", b"1", arrived=int(time.time() * 1000) - 60_000))
    await asyncio.sleep(0)
    assert line._age() == pytest.approx(60, abs=10)


async def test_a_reading_without_a_time_has_that_of_its_arrival_however_late_it_is_decoded() -> None:
    rule = Rule(topic="dev/p/#", decoder="plain")
    known = lateness(None)
    line = Pipeline(Settings(), Encoding(Decoders([rule])), Quota(), known, writers=[], receipts=Receipts("g"))
    arrived = [int(time.time() * 1000) - 5000, int(time.time() * 1000) - 4000]
    for at in arrived:
        line.receive(delivery("dev/p/a", b"1.5", arrived=at))
    known.latest = ALL_ON_TIME
    line.lateness_changed()
    await asyncio.sleep(0.01)
    rows = line._open.rows
    assert [parsed(row).time for row in rows.in_order()] == arrived
    again = line._encoding.again(line._open)
    assert [parsed(row).time for row in again.rows.in_order()] == arrived


async def test_a_pipeline_that_is_given_up_is_freed_with_what_waits_in_it() -> None:
    line = pipeline_of(Settings(), [], lateness(None))
    left = weakref.ref(line)
    line.receive(Delivery("dev/a/t", b"1", 1, Taken(line).acknowledge, arrived=0))
    await asyncio.sleep(0)
    metrics.oldest.set_function(lambda: 0.0)
    metrics.buffered.set_function(lambda: 0.0)
    metrics.undecoded.set_function(lambda: 0.0)
    del line
    gc.collect()
    assert left() is None


class Taken:
    """A connection, as it knows who takes its messages."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def acknowledge(self, *packet_ids: int | None) -> None:
        """Does nothing."""


def test_what_is_acknowledged_a_second_time_is_a_broken_invariant() -> None:
    async def scenario() -> None:
        database = Database()
        database.free.set()
        writer: Any = database
        line = pipeline_of(Settings(batch_seconds=0.01), [writer])
        line.receive(delivery("dev/a/t", PAYLOAD % (b"x", int(time.time() * 1000))))
        batch = await line._next()
        assert batch is not None
        line._settle(batch)
        with pytest.raises(InvariantError):
            line._settle(batch)

    within(20, scenario)


def test_nothing_is_decoded_while_lateness_is_unknown_and_all_of_it_afterwards() -> None:
    async def scenario() -> None:
        database, known = Database(), lateness(None)
        database.free.set()
        line = pipeline_of(Settings(batch_seconds=0.01), [database], known)
        running = asyncio.create_task(line.run())
        for number in range(25):
            line.receive(delivery(f"dev/{number}/t", PAYLOAD % (b"x", int(time.time() * 1000))))
        await asyncio.sleep(0.05)
        assert database.stored == 0
        known.latest = ALL_ON_TIME
        line.lateness_changed()
        line.finish()
        await running
        assert database.stored == 25

    within(20, scenario)


def within(seconds: int, scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs it; also an event loop that is blocked is a failure, and not the end of the tests."""

    def blocked(*_: object) -> None:
        raise TimeoutError("the event loop is blocked, or the scenario has not ended")

    before = signal.signal(signal.SIGALRM, blocked)
    signal.alarm(seconds)
    try:
        asyncio.run(scenario())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
