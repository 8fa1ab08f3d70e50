"""What waits for the database is bounded, and acknowledged when it is committed, in its order."""

import asyncio
import time
from typing import Any

import pytest

from ingestion import pipeline
from ingestion.batch import Batch, Delivery
from ingestion.decoders import Decoders
from ingestion.encoding import Encoding
from ingestion.pipeline import Pipeline
from ingestion.quota import Quota
from ingestion.receipts import Receipts
from ingestion.settings import Settings
from ingestion.tables import Written

PAYLOAD = b'{"v":"%s","ts":%d}'


class Database:
    """A writer whose database is slow: it stores when it is let to."""

    knows_horizon = True
    horizon_ms = kept_ms = 0

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.stored = 0

    async def write(self, batch: Batch, _: int = 1) -> Written:
        await self.free.wait()
        self.stored += batch.points
        return Written(batch.points, 0, 0)


def test_messages_that_wait_are_bounded_in_bytes_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = PAYLOAD % (b"x" * 300, int(time.time() * 1000))
    monkeypatch.setattr(pipeline, "MOST_BYTES", 10 * Delivery("dev/10/t", payload, list).size)
    acknowledged: list[int] = []

    async def scenario() -> None:
        database, room = Database(), asyncio.Event()
        writer: Any = database  # as far as a pipeline knows
        line = Pipeline(Settings(batch_seconds=0.01), Encoding(Decoders(())), Quota(), [writer], Receipts("g"))
        line.on_room = room.set
        running = asyncio.create_task(line.run())
        taken = 0
        while not line.full:
            line.receive(Delivery(f"dev/{taken}/t", payload, lambda number=taken: acknowledged.append(number)))
            taken += 1
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

    asyncio.run(scenario())
