"""Exactly once by a book of committed numbers, on a table without a unique index: the way to the columnstore at once.

The numbers that messages carry are booked in the transaction that stores their rows. What is booked already is not
stored again. A message without a number may be stored again when it is delivered again.
"""

from collections.abc import Iterable

import psycopg
from psycopg import AsyncConnection
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from ingestion.batch import Batch
from ingestion.database import is_of_the_data
from ingestion.encoding import Encoding
from ingestion.quota import Quota
from ingestion.rows import Window
from ingestion.tables import Rest, Topics, Written, copy_rows, put_halving, record, set_aside
from nexus.contract.codec import Message
from nexus.contract.ranges import Ranges

# Compressing pays off when a topic has some rows in a batch; else plain COPY is faster and smaller.
LEAST_ROWS = 10_000
LEAST_ROWS_A_TOPIC = 10

_COMPRESS = "SET LOCAL timescaledb.enable_direct_compress_copy = on"
_BOOK = """
INSERT INTO committed (publisher, numbers) VALUES (%s, %s)
ON CONFLICT (publisher) DO UPDATE SET numbers = committed.numbers + excluded.numbers
"""
_BOOK_NEW = _BOOK + "WHERE NOT committed.numbers && excluded.numbers"
# A row to lock for each publisher: without one, two writers would both find nothing, and both store.
_BEGIN = "INSERT INTO committed (publisher, numbers) VALUES (%s, '{}') ON CONFLICT DO NOTHING"
_LOCK = "SELECT publisher, numbers FROM committed WHERE publisher = ANY(%s) ORDER BY publisher FOR UPDATE"


class _Repeated(Exception):  # noqa: N818  rolls a transaction back
    pass


class Bulk:
    """COPYs first and books last, so that what other writers wait for is the booking alone."""

    unique = False

    def __init__(self, encoding: Encoding, quota: Quota | None = None) -> None:
        self._encoding = encoding
        self._quota = quota or Quota()
        self._topics = Topics()

    def reconnected(self) -> None:
        self._topics.forget()

    async def store(self, connection: AsyncConnection, batch: Batch) -> Written:
        """Writes a batch in one transaction."""
        numbers, repeats = _merged(batch.receipts)
        if not repeats:
            try:
                return await self._stored(connection, batch, numbers)
            except _Repeated:
                pass
            except psycopg.Error as error:
                if not is_of_the_data(error):
                    raise
        return await self._stored_apart(connection, batch, numbers)

    async def _stored(self, connection: AsyncConnection, batch: Batch, numbers: dict[str, Ranges]) -> Written:
        async with connection.transaction():
            if batch.rows.count >= max(LEAST_ROWS, LEAST_ROWS_A_TOPIC * len(batch.rows.by_topic)):
                await connection.execute(_COMPRESS)
            await copy_rows(connection, "metrics", batch.rows.in_order())
            await copy_rows(connection, "metrics_late", batch.late.in_order())
            await record(connection, batch.records)
            await set_aside(connection, batch.rejects)
            new = await self._topics.add(connection, batch.rows, batch.late)
            for publisher in sorted(numbers):  # in order, so that two writers cannot block each other
                booked = await connection.execute(_BOOK_NEW, (publisher, _multirange(numbers[publisher])))
                if not booked.rowcount:
                    raise _Repeated
        self._topics.known(new)
        return Written(batch.rows.count + batch.late.count, 0, len(batch.rejects))

    async def _stored_apart(self, connection: AsyncConnection, batch: Batch, numbers: dict[str, Ranges]) -> Written:
        """The careful way: what is booked is left out, and what is refused set aside."""

        async def put(some: Rest) -> int:
            return await copy_rows(connection, "metrics", some)

        async def hold(some: Rest) -> int:
            return await copy_rows(connection, "metrics_late", some)

        async with connection.transaction():
            for publisher in sorted(numbers):
                await connection.execute(_BEGIN, (publisher,))
            seen = {publisher: Ranges() for publisher in numbers}
            for publisher, booked in await (await connection.execute(_LOCK, (sorted(numbers),))).fetchall():
                for part in booked:
                    seen[publisher].add(part.lower, part.upper - 1)
            fresh = self._fresh(batch, batch.window, seen) if batch.window else batch
            _, refused = await put_halving(connection, fresh.rows.in_order(), put)
            refused += (await put_halving(connection, fresh.late.in_order(), hold))[1]
            rejects = [*fresh.rejects, *self._quota.admitted(refused)]
            await record(connection, batch.records)
            await set_aside(connection, rejects)
            new = await self._topics.add(connection, fresh.rows, fresh.late, {reject.topic for reject in refused})
            for publisher in sorted(numbers):
                await connection.execute(_BOOK, (publisher, _multirange(numbers[publisher])))
        self._topics.known(new)
        stored = fresh.rows.count + fresh.late.count - len(refused)
        duplicates = batch.points - fresh.points
        return Written(stored, duplicates, len(rejects))

    def _fresh(self, batch: Batch, window: Window, seen: dict[str, Ranges]) -> Batch:
        """The batch, made anew of what is not booked and not twice in it."""

        def unseen(message: Message) -> Message | None:
            booked = seen.get(message.publisher or "")
            if booked is None:  # without a number
                return message
            left = _without(message, booked)
            booked.add(*message.numbers)
            return left

        fresh = Batch()
        for topic, payload, _ in batch.deliveries:
            self._encoding.add(fresh, topic, payload, window, wanted=unseen)
        return fresh


def _without(message: Message, booked: Ranges) -> Message | None:
    """What of a message is not booked: where each reading has a number, the readings that are not."""
    first, last = message.numbers
    if booked.holds(first, last):
        return None
    if not booked.overlaps(first, last) or len(message.values) != last - first + 1:
        return message
    numbered = zip(range(first, last + 1), message.values.items(), strict=True)
    values = {tag: value for number, (tag, value) in numbered if not booked.holds(number, number)}
    return Message(message.topic, message.time, values, message.qualities, message.units, message.times)


def _merged(receipts: Iterable[tuple[str, int, int]]) -> tuple[dict[str, Ranges], bool]:
    """Numbers by publisher, and whether one is there twice."""
    numbers: dict[str, Ranges] = {}
    repeats = False
    for publisher, first, last in receipts:
        if last >= first:
            ranges = numbers.setdefault(publisher, Ranges())
            repeats = repeats or ranges.overlaps(first, last)
            ranges.add(first, last)
    return numbers, repeats


def _multirange(ranges: Ranges) -> Multirange[int]:
    return Multirange([Range(first, last + 1, "[)") for first, last in ranges])
