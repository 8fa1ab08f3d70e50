"""What waits for the database is bounded, and acknowledged when it is committed, in its order."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingestion.consume import pipeline
from ingestion.consume.batch import Batch, Delivery
from ingestion.consume.pipeline import Pipeline
from ingestion.consume.receipts import Receipts
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import Encoding
from ingestion.settings import Settings
from ingestion.store.lateness import Lateness, LatenessMonitor
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from nexus.process.errors import InvariantError

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
    monkeypatch.setattr(pipeline, "MOST_BYTES", 10 * Delivery("dev/10/t", payload, None, lambda *_: None).size)
    acknowledged: list[int | None] = []

    database, room = Database(), asyncio.Event()
    writer: Any = database  # as far as a pipeline knows
    line = pipeline_of(Settings(batch_seconds=0.01), [writer])
    running = asyncio.create_task(line.run())
    taken = 0
    while not line.full:
        line.receive(Delivery(f"dev/{taken}/t", payload, taken, lambda *ids: acknowledged.extend(ids)))
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
            line.receive(Delivery(f"dev/{number}/t", payload, number, lambda *ids: acknowledged.extend(ids)))
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
            line.receive(Delivery(f"dev/{number}/t", PAYLOAD % (b"x", int(time.time() * 1000)), None, lambda *_: None))
        await asyncio.sleep(0.05)
        line.finish()
        await asyncio.sleep(0)
        line.forget_undecoded()
        database.free.set()
        await running
        assert database.stored == 10

    within(20, scenario)


def test_what_is_acknowledged_a_second_time_is_a_broken_invariant() -> None:
    async def scenario() -> None:
        database = Database()
        database.free.set()
        writer: Any = database
        line = pipeline_of(Settings(batch_seconds=0.01), [writer])
        line.receive(Delivery("dev/a/t", PAYLOAD % (b"x", int(time.time() * 1000)), None, lambda *_: None))
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
            line.receive(Delivery(f"dev/{number}/t", PAYLOAD % (b"x", int(time.time() * 1000)), None, lambda *_: None))
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
