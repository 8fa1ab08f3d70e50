"""What leaves the disk, and when."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway import metrics
from gateway.delivery.aside import Aside
from gateway.delivery.backlog import Backlog, Wanted
from gateway.delivery.batch import Batch
from gateway.delivery.in_flight import InFlight
from gateway.delivery.message import Outlet
from gateway.delivery.publisher import Publisher
from gateway.delivery.receipts import Receipts
from gateway.delivery.spool_folder import claimed
from gateway.delivery.words import Words
from nexus.contract import topic
from nexus.contract.reading import Reading
from nexus.process.errors import InvariantError

LIMIT = 10_000


def on(folder: Path, work: Callable[[Backlog], Awaitable[None]], receipts: Wanted = "always") -> None:
    async def scenario() -> None:
        async with claimed(folder, 10**9, 86_400.0) as spool:
            backlog = Backlog(spool, LIMIT, receipts)
            await backlog.open()
            await work(backlog)

    asyncio.run(scenario())


def put(backlog: Backlog, readings: list[Reading]) -> Batch:
    batch = Batch("dev/plc", b"", len(readings), 0, Outlet("plc", "device", {}), readings)
    backlog.put(batch)
    return batch


async def stored(backlog: Backlog, count: int) -> list[Batch]:
    """Batches of ten readings that have left, and are on disk."""
    batches = [put(backlog, [Reading(f"t{n}", at, 1.0) for n in range(10)]) for at in range(1, count + 1)]
    for batch in batches:
        backlog.mark_sent(batch)
    await backlog.flush()
    return batches


def test_what_is_due_comes_together_from_between_what_is_not(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        batches = await stored(backlog, 30)
        assert await backlog.due(20) == []
        for batch in batches[1::3]:
            backlog.committed(batch.first, batch.last)
        for batch in batches[2::3]:
            backlog.requeue(batch)
        due = [batch.first for batch in batches[2::3]]
        assert [batch.first for batch in await backlog.due(20)] == due, (
            "also while the disk still has what is committed"
        )
        await backlog.flush()
        assert [batch.first for batch in await backlog.due(20)] == due
        for batch in await backlog.due(4):
            backlog.mark_sent(batch)
        assert [batch.first for batch in await backlog.due(20)] == due[4:]

    on(tmp_path, look)


def test_a_receipt_for_what_has_not_left_yet_lets_nothing_go(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        [sent] = await stored(backlog, 1)
        waiting = put(backlog, [Reading(f"t{n}", 5, 1.0) for n in range(10)])
        await backlog.flush()
        refused = metrics.receipts_refused._value.get()
        backlog.committed(waiting.first, waiting.last)
        assert metrics.receipts_refused._value.get() == refused + 1
        backlog.committed(sent.first, waiting.last)  # of which one half has left
        backlog.requeue(waiting)
        await backlog.flush()
        assert [batch.first for batch in await backlog.due(20)] == [waiting.first]
        assert backlog.unsettled == 10

    on(tmp_path, look)


def test_a_receipt_for_another_publisher_is_none_of_ours(tmp_path: Path) -> None:
    """Where a gateway also empties a dead one's spool, both hear on one connection, and their numbers are alike."""

    class Connection:
        async def subscribe(self, name: str, *, only_new: bool = False) -> None:
            pass

    async def look(backlog: Backlog) -> None:
        [sent] = await stored(backlog, 1)
        ours = Receipts("ingestion", backlog, Words())
        await ours.follow(Connection())  # type: ignore[arg-type]
        numbers = b"[[%d,%d]]" % (sent.first, sent.last)
        assert not ours.heard(topic.receipt("0f" * 16), numbers)
        assert backlog.unsettled == 10
        assert ours.heard(topic.receipt(backlog.name or ""), numbers)
        assert backlog.unsettled == 0

    on(tmp_path, look)


def test_a_record_goes_to_the_disk_as_it_is_with_one_number(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        [before] = await stored(backlog, 1)
        publisher = Publisher(backlog, InFlight(backlog, Aside()), Aside(), Words())
        publisher.record("audit/plc/valve", b'{"id":"1","ok":true}')
        await backlog.flush()
        backlog.requeue(before)
        [_, record] = await backlog.due(20)
        assert (record.topic, record.first, record.last) == ("audit/plc/valve", before.last + 1, before.last + 1)
        assert json.loads(record.whole("ab")[0][1]) == {"id": "1", "ok": True, "p": "ab", "n": record.first}

    on(tmp_path, look)


def test_a_number_that_the_disk_has_not_needs_nothing_more(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        batches = await stored(backlog, 3)
        backlog.requeue(batches[2])
        for batch in await backlog.due(20):
            backlog.forget(batch)
        await backlog.flush()
        assert backlog.unsettled == 20
        backlog.committed(batches[0].first, batches[1].last)
        assert backlog.unsettled == 0
        assert await backlog.due(20) == []

    on(tmp_path, look)


@pytest.mark.parametrize("receipts", ["never", "auto", "always"])
def test_what_is_under_way_comes_back_although_the_disk_has_what_lies_around_it(
    tmp_path: Path, receipts: Wanted
) -> None:
    async def look(backlog: Backlog) -> None:
        [before, flying, after] = await stored(backlog, 3)
        backlog.requeue(before)
        backlog.requeue(after)
        await backlog.flush()
        assert [batch.first for batch in await backlog.due(20)] == [before.first, after.first]
        backlog.requeue(flying)  # the connection is lost before the broker has acknowledged it
        await backlog.flush()
        assert [batch.first for batch in await backlog.due(20)] == [before.first, flying.first, after.first]
        assert backlog.unsettled == 30

    on(tmp_path, look, receipts)


def test_numbers_that_were_set_on_leave_nothing_open_and_never_go_back(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        [before] = await stored(backlog, 1)
        clock = before.last + 10**9
        backlog.set_on(clock)
        [after] = await stored(backlog, 1)
        assert after.first == clock
        assert backlog.ahead(clock - 400 * 86_400_000_000) == pytest.approx(400 * 86_400, abs=1)
        assert backlog.ahead(after.last + 1) == 0
        backlog.set_on(clock - 5)  # it was set back
        assert (await stored(backlog, 1))[0].first == after.last + 1
        backlog.committed(before.first, before.last)
        backlog.committed(after.first, after.last + 10)
        assert backlog.unsettled == 0
        await backlog.flush()
        assert backlog.stored == 0

    on(tmp_path, look)


def test_what_is_under_way_at_a_stop_is_on_disk_until_the_broker_has_it(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        one, two = (put(backlog, [Reading("t", at, 1.0)]) for at in (1, 2))
        for batch in (one, two):
            backlog.mark_sent(batch)
            backlog.keep(batch)
        await backlog.flush()
        assert backlog.stored == 2
        assert await backlog.due(20) == [], "it is under way: nobody else sends it"
        backlog.confirm(one)
        backlog.requeue(two)
        await backlog.flush()
        assert [batch.first for batch in await backlog.due(20)] == [two.first]
        assert backlog.stored == 1

    on(tmp_path, look, receipts="never")


def test_what_is_kept_at_a_stop_drives_nothing_out(tmp_path: Path) -> None:
    async def look(backlog: Backlog) -> None:
        large = put(backlog, [Reading(f"t{n}", 1, 1.0) for n in range(LIMIT)])
        small = put(backlog, [Reading("t", 2, 1.0)])
        for batch in (large, small):
            backlog.keep(batch)
        assert backlog.waiting == backlog.unstored == LIMIT

    on(tmp_path, look, receipts="never")


def test_readings_are_numbered_once() -> None:
    batch = Batch("dev/plc", b"{}", 1)
    batch.number(7)
    with pytest.raises(InvariantError):
        batch.number(8)
