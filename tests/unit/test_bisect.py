"""A batch that cannot be written whole: whose fault it is decides what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ingestion import metrics
from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import Window
from ingestion.store.bisect import PATIENCE, Parts, write_bisecting
from ingestion.store.database import BatchRefusedError, DatabaseAwayError, TooSlowError
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from tests.deliveries import delivery

GOOD, WRONG = b'{"v":1,"ts":1700000000000}', b"not a message"
WINDOW = Window.at(1_700_000_000_000, 0)


def arrived(encoding: Encoding, *messages: tuple[str, bytes]) -> Batch:
    batch = Batch()
    for topic, payload in messages:
        batch.deliveries.append(delivery(topic, payload))
        batch.windows.append(WINDOW)
        encoding.add(batch, topic, payload, WINDOW)
    return batch


def database(aside: list[str], *, of_data: bool) -> Callable[[Batch], Awaitable[Written]]:
    """Writes to a database that takes nothing that is called `bad`; notes the topics that are set `aside`."""

    async def write(batch: Batch) -> Written:
        if any("bad" in topic for topic in batch.rows.by_topic):
            raise BatchRefusedError("no", of_data=of_data)
        aside.extend(reject.topic for reject in batch.rejects)
        return Written(batch.rows.count, 0, len(batch.rejects))

    return write


def apart(topics: list[str], *, of_data: bool) -> tuple[Written, list[str]]:
    """What is written, and which topics are set aside."""
    aside: list[str] = []
    write = database(aside, of_data=of_data)
    encoding = Encoding(Decoders([]))
    batch = arrived(encoding, *((topic, GOOD) for topic in topics))
    written = asyncio.run(write_bisecting(encoding, Quota(), write, batch, batch.receipts))
    return written, aside


@pytest.mark.parametrize("of_data", [True, False])
def test_what_cannot_be_written_is_set_aside_and_the_rest_stored(*, of_data: bool) -> None:
    written, aside = apart(["dev/a", "dev/bad1", "dev/b", "dev/bad2"], of_data=of_data)
    assert (written.rows, aside) == (2, ["dev/bad1", "dev/bad2"])


def test_messages_that_are_at_fault_stop_nothing_even_if_there_are_no_others() -> None:
    written, aside = apart(["dev/bad1", "dev/bad2", "dev/bad3"], of_data=True)
    assert (written.rows, aside) == (0, ["dev/bad1", "dev/bad2", "dev/bad3"])


def test_where_nothing_can_be_written_and_nobody_knows_why_it_waits() -> None:
    with pytest.raises(DatabaseAwayError, match="nothing can be written"):
        apart(["dev/bad1", "dev/bad2"], of_data=False)


def test_the_quota_is_charged_once_however_often_a_batch_is_halved() -> None:
    aside: list[str] = []
    write = database(aside, of_data=True)
    quota = Quota(3, 1_000_000)
    encoding = Encoding(Decoders([]), quota)
    wrong = [(f"dev/wrong{number}", WRONG) for number in range(3)]
    dropped = metrics.rejects_dropped._value.get()
    batch = arrived(encoding, *wrong[:2], *((f"dev/{number}", GOOD) for number in range(20)), ("dev/bad", GOOD))
    written = asyncio.run(write_bisecting(encoding, quota, write, batch, batch.receipts))
    assert (written.rows, aside) == (20, ["dev/wrong0", "dev/wrong1", "dev/bad"])
    assert metrics.rejects_dropped._value.get() == dropped
    assert arrived(encoding, *wrong[2:]).rejects == []


def test_what_is_beyond_the_quota_is_not_kept_because_a_batch_is_halved() -> None:
    stored: list[str] = []

    async def write(batch: Batch) -> Written:
        if len(batch.deliveries) > 1:
            raise BatchRefusedError("no", of_data=True)
        stored.extend(reject.topic for reject in batch.rejects)
        return Written(batch.rows.count, 0, len(batch.rejects))

    quota = Quota(2, 1_000_000)
    encoding = Encoding(Decoders([]), quota)
    batch = arrived(encoding, *((f"dev/wrong{number}", WRONG) for number in range(5)))
    asyncio.run(write_bisecting(encoding, quota, write, batch, batch.receipts))
    assert stored == ["dev/wrong0", "dev/wrong1"]


def test_what_could_not_be_set_aside_yet_is_not_charged() -> None:
    async def write(batch: Batch) -> Written:
        if batch.deliveries:
            raise BatchRefusedError("no", of_data=True)
        raise DatabaseAwayError("gone")

    quota = Quota(1, 1_000_000)
    encoding = Encoding(Decoders([]), quota)
    with pytest.raises(DatabaseAwayError):
        asyncio.run(write_bisecting(encoding, quota, write, arrived(encoding, ("dev/bad", GOOD)), []))
    assert len(arrived(encoding, ("dev/wrong", WRONG)).rejects) == 1


def test_what_is_refused_and_beyond_the_quota_gets_no_receipt() -> None:
    async def write(batch: Batch) -> Written:
        if any("bad" in topic for topic in batch.rows.by_topic):
            raise BatchRefusedError("no", of_data=True)
        return Written(batch.rows.count, 0, len(batch.rejects))

    encoding = Encoding(Decoders([]))
    numbered = b'{"v":1,"ts":1700000000000,"p":"%s","n":%d}'
    gateway = b"0f" * 16
    batch = arrived(encoding, *((topic, numbered % (gateway, n)) for n, topic in enumerate(("dev/a", "dev/bad"), 1)))
    asyncio.run(write_bisecting(encoding, Quota(1), write, batch, batch.receipts))
    assert [first for _, first, _ in batch.receipts] == [1, 2]
    asyncio.run(write_bisecting(encoding, Quota(0), write, batch, batch.receipts))
    assert [first for _, first, _ in batch.receipts] == [1]


def test_what_cannot_be_kept_even_as_a_reject_gets_no_receipt() -> None:
    async def write(batch: Batch) -> Written:
        if batch.rows or any(reject.topic for reject in batch.rejects):
            raise BatchRefusedError("no", of_data=True)
        return Written(0, 0, len(batch.rejects))

    encoding = Encoding(Decoders([]))
    batch = arrived(encoding, ("dev/a", b'{"v":1,"ts":1700000000000,"p":"%s","n":1}' % (b"0f" * 16)))
    asyncio.run(write_bisecting(encoding, Quota(), write, batch, batch.receipts))
    assert batch.receipts == []


class Slow:
    """A database that takes too long for more than so many messages at once, or for what is called `bad`."""

    def __init__(self, most: int, *, cancels: bool = False) -> None:
        self.most = most
        self.cancels = cancels
        self.away = False
        self.topics: list[str] = []
        self.aside: list[str] = []

    async def write(self, batch: Batch) -> Written:
        topics = list(batch.rows.by_topic)
        if self.away or len(topics) > self.most or any(topic.startswith("dev/bad") for topic in topics):
            raise TooSlowError("no answer", cancelled=self.cancels)
        self.topics += topics
        self.aside += [reject.topic for reject in batch.rejects]
        return Written(len(topics), 0, len(batch.rejects))

    def try_often(self, parts: Parts) -> int:
        """How many tries it took; at most 30."""
        for tries in range(30):
            try:
                asyncio.run(parts.write(self.write))
            except TooSlowError:
                continue
            return tries
        return 30


@pytest.mark.parametrize("cancels", [False, True])
def test_what_takes_too_long_is_written_in_halves(*, cancels: bool) -> None:
    encoding, database = Encoding(Decoders([])), Slow(3, cancels=cancels)
    topics = [f"dev/{number}" for number in range(10)]
    parts = Parts(encoding, Quota(), arrived(encoding, *((topic, GOOD) for topic in topics)))
    database.try_often(parts)
    assert (database.topics, parts.written.rows, database.aside) == (topics, 10, [])


def test_a_message_that_always_takes_too_long_costs_itself() -> None:
    encoding, database = Encoding(Decoders([])), Slow(100)
    bad = ("dev/bad", b'{"v":{"x":1,"y":2},"ts":1700000000000}')
    parts = Parts(encoding, Quota(), arrived(encoding, ("dev/a", GOOD), bad, ("dev/b", GOOD)))
    assert database.try_often(parts) < 6
    assert (sorted(database.topics), database.aside) == (["dev/a", "dev/b"], ["dev/bad"])
    assert parts.written == Written(2, 0, 1)


def test_what_the_server_cancels_is_never_a_reject() -> None:
    encoding, database = Encoding(Decoders([])), Slow(100, cancels=True)
    bad = ("dev/bad", b'{"v":{"x":1,"y":2},"ts":1700000000000}')
    parts = Parts(encoding, Quota(), arrived(encoding, bad, ("dev/a", GOOD)))
    assert database.try_often(parts) == 30 > 3 * PATIENCE
    assert (database.topics, database.aside) == (["dev/a"], [])


def test_a_single_row_that_takes_too_long_is_an_outage_and_never_a_reject() -> None:
    encoding, database = Encoding(Decoders([])), Slow(100)
    parts = Parts(encoding, Quota(), arrived(encoding, ("dev/a", GOOD), ("dev/bad", GOOD)))
    assert database.try_often(parts) == 30 > 3 * PATIENCE
    assert (database.topics, database.aside) == (["dev/a"], [])


def test_a_database_that_is_silent_sets_nothing_aside() -> None:
    encoding, database = Encoding(Decoders([])), Slow(100)
    database.away = True
    parts = Parts(encoding, Quota(), arrived(encoding, ("dev/a", GOOD), ("dev/b", GOOD)))
    assert database.try_often(parts) == 30 > 3 * PATIENCE
    database.away = False
    database.try_often(parts)
    assert (sorted(database.topics), database.aside) == (["dev/a", "dev/b"], [])
