"""What leaves the disk, and when."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway import metrics
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox, Wanted
from gateway.delivery.publish_options import PublishOptions
from gateway.delivery.publisher import Publisher
from gateway.delivery.receipts import Receipts
from gateway.delivery.retransmit_queue import SILENCE_SECONDS
from gateway.delivery.spool_folder import claimed
from nexus.contract import topic
from nexus.contract.reading import Reading
from nexus.process.errors import InvariantError

LIMIT = 10_000


def on(folder: Path, work: Callable[[Outbox], Awaitable[None]], receipts: Wanted = "always") -> None:
    async def scenario() -> None:
        async with claimed(folder, 10**9, 86_400.0) as spool:
            outbox = Outbox(spool, LIMIT, receipts)
            await outbox.open()
            await work(outbox)

    asyncio.run(scenario())


def put(outbox: Outbox, readings: list[Reading]) -> Batch:
    batch = Batch("dev/plc", b"", len(readings), 0, PublishOptions("plc", "device", {}), readings)
    outbox.put(batch)
    return batch


async def stored(outbox: Outbox, count: int) -> list[Batch]:
    """Batches of ten readings that have left, and are on disk."""
    batches = [put(outbox, [Reading(f"t{n}", at, 1.0) for n in range(10)]) for at in range(1, count + 1)]
    for batch in batches:
        outbox.mark_sent(batch)
    await outbox.flush()
    return batches


def test_what_is_due_comes_together_from_between_what_is_not(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        batches = await stored(outbox, 30)
        assert await outbox.due(20) == []
        for batch in batches[1::3]:
            outbox.committed(batch.first, batch.last)
        for batch in batches[2::3]:
            outbox.requeue(batch)
        due = [batch.first for batch in batches[2::3]]
        assert [batch.first for batch in await outbox.due(20)] == due, "also while the disk still has what is committed"
        await outbox.flush()
        assert [batch.first for batch in await outbox.due(20)] == due
        for batch in await outbox.due(4):
            outbox.mark_sent(batch)
        assert [batch.first for batch in await outbox.due(20)] == due[4:]

    on(tmp_path, look)


def test_a_receipt_for_what_has_not_left_yet_lets_nothing_go(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        [sent] = await stored(outbox, 1)
        waiting = put(outbox, [Reading(f"t{n}", 5, 1.0) for n in range(10)])
        await outbox.flush()
        assert not outbox.committed(waiting.first, waiting.last)
        assert outbox.committed(sent.first, waiting.last), "of which one half has left"
        outbox.requeue(waiting)
        await outbox.flush()
        assert [batch.first for batch in await outbox.due(20)] == [waiting.first]
        assert outbox.unsettled == 10

    on(tmp_path, look)


def test_a_receipt_for_another_publisher_is_none_of_ours(tmp_path: Path) -> None:
    """Where a gateway also empties a dead one's spool, both hear on one connection, and their numbers are alike."""

    class Connection:
        async def subscribe(self, name: str, *, only_new: bool = False) -> None:
            pass

    async def look(outbox: Outbox) -> None:
        [sent] = await stored(outbox, 1)
        ours = Receipts("ingestion", outbox, ControlTopics())
        await ours.follow(Connection())  # type: ignore[arg-type]
        numbers = b"[[%d,%d]]" % (sent.first, sent.last)
        assert not ours.handle(topic.receipt("0f" * 16), numbers)
        assert outbox.unsettled == 10
        assert ours.handle(topic.receipt(outbox.name or ""), numbers)
        assert outbox.unsettled == 0

    on(tmp_path, look)


def test_a_record_goes_to_the_disk_as_it_is_with_one_number(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        [before] = await stored(outbox, 1)
        publisher = Publisher(outbox, InFlight(outbox, BlockedTopics()), BlockedTopics(), ControlTopics())
        publisher.record("audit/plc/valve", b'{"id":"1","ok":true}')
        await outbox.flush()
        outbox.requeue(before)
        [_, record] = await outbox.due(20)
        assert (record.topic, record.first, record.last) == ("audit/plc/valve", before.last + 1, before.last + 1)
        assert json.loads(record.whole("ab")[0][1]) == {"id": "1", "ok": True, "p": "ab", "n": record.first}

    on(tmp_path, look)


def test_a_number_that_the_disk_has_not_needs_nothing_more(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        batches = await stored(outbox, 3)
        outbox.requeue(batches[2])
        for batch in await outbox.due(20):
            outbox.forget(batch)
        await outbox.flush()
        assert outbox.unsettled == 20
        outbox.committed(batches[0].first, batches[1].last)
        assert outbox.unsettled == 0
        assert await outbox.due(20) == []

    on(tmp_path, look)


@pytest.mark.parametrize("receipts", ["never", "auto", "always"])
def test_what_is_under_way_comes_back_although_the_disk_has_what_lies_around_it(
    tmp_path: Path, receipts: Wanted
) -> None:
    async def look(outbox: Outbox) -> None:
        [before, flying, after] = await stored(outbox, 3)
        outbox.requeue(before)
        outbox.requeue(after)
        await outbox.flush()
        assert [batch.first for batch in await outbox.due(20)] == [before.first, after.first]
        outbox.requeue(flying)  # the connection is lost before the broker has acknowledged it
        await outbox.flush()
        assert [batch.first for batch in await outbox.due(20)] == [before.first, flying.first, after.first]
        assert outbox.unsettled == 30

    on(tmp_path, look, receipts)


def test_numbers_that_were_set_on_leave_nothing_open_and_never_go_back(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        [before] = await stored(outbox, 1)
        clock = before.last + 10**9
        outbox.set_on(clock)
        [after] = await stored(outbox, 1)
        assert after.first == clock
        assert outbox.ahead(clock - 400 * 86_400_000_000) == pytest.approx(400 * 86_400, abs=1)
        assert outbox.ahead(after.last + 1) == 0
        outbox.set_on(clock - 5)  # it was set back
        assert (await stored(outbox, 1))[0].first == after.last + 1
        outbox.committed(before.first, before.last)
        outbox.committed(after.first, after.last + 10)
        assert outbox.unsettled == 0
        await outbox.flush()
        assert outbox.stored == 0

    on(tmp_path, look)


def test_what_is_under_way_at_a_stop_is_on_disk_until_the_broker_has_it(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        one, two = (put(outbox, [Reading("t", at, 1.0)]) for at in (1, 2))
        for batch in (one, two):
            outbox.mark_sent(batch)
            outbox.keep(batch)
        await outbox.flush()
        assert outbox.stored == 2
        assert await outbox.due(20) == [], "it is under way: nobody else sends it"
        outbox.confirm(one)
        outbox.requeue(two)
        await outbox.flush()
        assert [batch.first for batch in await outbox.due(20)] == [two.first]
        assert outbox.stored == 1

    on(tmp_path, look, receipts="never")


def test_what_is_kept_at_a_stop_drives_nothing_out(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        large = put(outbox, [Reading(f"t{n}", 1, 1.0) for n in range(LIMIT)])
        small = put(outbox, [Reading("t", 2, 1.0)])
        for batch in (large, small):
            outbox.keep(batch)
        assert outbox.waiting == outbox.unstored == LIMIT

    on(tmp_path, look, receipts="never")


def test_readings_are_numbered_once(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        batch = put(outbox, [Reading("t", 1, 1.0)])
        with pytest.raises(InvariantError):
            outbox.put(batch)

    on(tmp_path, look)


def dropped() -> float:
    return float(metrics.dropped.labels("memory")._value.get())


def sent(outbox: Outbox, at: int) -> Batch:
    """A tenth of what memory has room for, in flight."""
    batch = put(outbox, [Reading(f"t{n}", at, 1.0) for n in range(LIMIT // 10)])
    outbox.mark_sent(batch)
    return batch


@pytest.mark.parametrize("receipts", ["never", "auto", "always"])
def test_what_memory_has_no_room_for_in_flight_comes_back_or_is_counted(tmp_path: Path, receipts: Wanted) -> None:
    async def look(outbox: Outbox) -> None:
        before = dropped()
        batches = [sent(outbox, at) for at in range(50)]
        for batch in batches:  # the connection is lost, and the disk has taken nothing
            outbox.requeue(batch)
        assert outbox.waiting <= LIMIT
        assert outbox.waiting == outbox.unsettled
        assert outbox.waiting + dropped() - before == 5 * LIMIT

    on(tmp_path, look, receipts)


def test_what_memory_has_no_room_for_until_its_receipt_is_lost_only_if_that_stays_away(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        before, now = dropped(), 0.0
        outbox._clock = lambda: now
        outbox.offer(True)
        batches = [sent(outbox, at) for at in range(20)]
        for batch in batches:
            outbox.confirm(batch)
        assert dropped() == before, "the broker has them"
        outbox.committed(batches[0].first, batches[4].last)
        await outbox.flush()
        now += 10 * SILENCE_SECONDS
        due = await outbox.due(20)
        assert [batch.first for batch in due] == [batch.first for batch in batches[10:]]
        assert dropped() - before == sum(batch.count for batch in batches[5:10])

    on(tmp_path, look)


@pytest.mark.parametrize("receipts", ["never", "auto"])
def test_what_comes_back_while_the_disk_is_asked_is_not_taken_for_lost(tmp_path: Path, receipts: Wanted) -> None:
    async def look(outbox: Outbox) -> None:
        before, flying, after = [put(outbox, [Reading("t", at, 1.0)]) for at in range(3)]
        for batch in (before, after):
            outbox.requeue(batch)
        outbox.mark_sent(flying)
        await outbox.flush()
        asked = asyncio.create_task(outbox.due(20))
        await asyncio.sleep(0)
        outbox.requeue(flying)
        assert [batch.first for batch in await asked] == [before.first, after.first]
        await outbox.flush()
        assert outbox.stored == outbox.unsettled == 3

    on(tmp_path, look, receipts)


def test_a_receipt_that_comes_again_in_parts_keeps_nothing_on_disk(tmp_path: Path) -> None:
    async def look(outbox: Outbox) -> None:
        batches = [put(outbox, [Reading("t", at, 1.0)]) for at in range(5)]
        for batch in batches:
            outbox.mark_sent(batch)
        await outbox.flush()
        outbox.committed(batches[0].first, batches[3].last)
        for batch in batches[:2]:
            outbox.committed(batch.first, batch.last)
        outbox.committed(batches[4].first, batches[4].last)
        await outbox.flush()
        assert outbox.stored == outbox.unsettled == 0

    on(tmp_path, look)
