"""Exactly once by booking sequence numbers, on a table without a unique index: writes straight to the columnstore.

The numbers that messages carry are booked in the transaction that stores their rows. What is booked already is not
stored again. A message without a number may be stored again when it is delivered again.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection

from ingestion.consume.batch import Batch, Reject
from ingestion.decode.encoding import Encoding
from ingestion.store.database import is_of_the_data
from ingestion.store.quota import Quota
from ingestion.store.records import insert_records
from ingestion.store.tables import (
    EncodedRows,
    Topics,
    Written,
    admit,
    copy_rows,
    insert_bisecting,
    insert_rejects,
)
from ingestion.store.withheld import receipts_left
from nexus.contract.codec import Message
from nexus.contract.ranges import Ranges

# Compressing pays off if topics have several rows in a batch; otherwise plain COPY is faster and smaller.
LEAST_ROWS = 10_000
LEAST_ROWS_A_TOPIC = 10

_COMPRESS = "SET LOCAL timescaledb.enable_direct_compress_copy = on"
# The numbers among these that are booked already; locks their publishers until the end of the transaction.
_BOOKED = "SELECT publisher, first, last FROM booked(%s::text[], %s::bigint[], %s::bigint[])"
_BOOK = "SELECT book(%s::text[], %s::bigint[], %s::bigint[])"


class _RepeatedError(Exception):
    """Rolls a transaction back."""


class _Numbers(NamedTuple):
    """Ranges of numbers, in their order, merged: publisher, first and last of each."""

    publishers: list[str]
    firsts: list[int]
    lasts: list[int]


class BulkInsert:
    """COPYs first and books last, so that other writers wait only for the booking."""

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
                return await self._store_plain(connection, batch, numbers)
            except _RepeatedError:
                pass
            except psycopg.Error as error:
                if not is_of_the_data(error):
                    raise
        return await self._store_deduplicated(connection, batch, numbers)

    async def _store_plain(self, connection: AsyncConnection, batch: Batch, numbers: _Numbers) -> Written:
        async with connection.transaction():
            if batch.rows.count >= max(LEAST_ROWS, LEAST_ROWS_A_TOPIC * len(batch.rows.by_topic)):
                await connection.execute(_COMPRESS)
            await copy_rows(connection, "metrics", batch.rows.in_order())
            await copy_rows(connection, "metrics_late", batch.late.in_order())
            await insert_records(connection, batch.records)
            await insert_rejects(connection, batch.rejects)
            new = await self._topics.add(connection, batch.rows, batch.late)
            if numbers.firsts:
                if await (await connection.execute(_BOOKED, numbers)).fetchone():
                    raise _RepeatedError
                await connection.execute(_BOOK, numbers)
        self._topics.known(new)
        return Written(batch.rows.count + batch.late.count, 0, len(batch.rejects))

    async def _store_deduplicated(self, connection: AsyncConnection, batch: Batch, numbers: _Numbers) -> Written:
        """Skips what is booked already, and rejects what the database refuses."""

        async def put(some: EncodedRows) -> int:
            return await copy_rows(connection, "metrics", some)

        async def hold(some: EncodedRows) -> int:
            return await copy_rows(connection, "metrics_late", some)

        admitted: list[Reject] = []
        try:
            async with connection.transaction():
                booked = await (await connection.execute(_BOOKED, numbers)).fetchall()
                fresh = self._fresh(batch, _each(numbers, booked)) if batch.deliveries else batch
                _, refused = await insert_bisecting(connection, fresh.rows.in_order(), put)
                refused += (await insert_bisecting(connection, fresh.late.in_order(), hold))[1]
                admitted, lost = admit(self._quota, refused)
                rejects = [*fresh.rejects, *admitted]
                await insert_records(connection, batch.records)
                await insert_rejects(connection, rejects)
                new = await self._topics.add(connection, fresh.rows, fresh.late, {reject.topic for reject in refused})
                kept, _ = _merged(receipts_left(self._encoding, batch, lost)) if lost else (numbers, False)
                await connection.execute(_BOOK, kept)  # rows that are not kept can be stored when they come again
        except BaseException:
            self._quota.returned(admitted)
            raise
        self._topics.known(new)
        stored = fresh.rows.count + fresh.late.count - len(refused)
        duplicates = batch.points - fresh.points
        return Written(stored, duplicates, len(rejects), lost=lost)

    def _fresh(self, batch: Batch, seen: dict[str, set[int]]) -> Batch:
        """Rebuilds the batch from what is neither booked nor repeated in it."""

        def unseen(message: Message) -> Message | None:
            return (
                message if message.publisher is None else _without(message, seen.setdefault(message.publisher, set()))
            )

        return self._encoding.again(batch, wanted=unseen)


def _without(message: Message, seen: set[int]) -> Message | None:
    """What of a message is not seen: where each reading has a number, the readings that are not. Then all of it is."""
    first, last = message.numbers
    numbers = range(first, last + 1)
    unseen = [number not in seen for number in numbers]
    seen.update(numbers)
    if not any(unseen):
        return None
    if all(unseen) or len(message.values) != len(numbers):
        return message
    values = {tag: value for (tag, value), new in zip(message.values.items(), unseen, strict=True) if new}
    return msgspec.structs.replace(message, values=values)


def _merged(receipts: Iterable[tuple[str, int, int]]) -> tuple[_Numbers, bool]:
    """Merges the numbers; tells whether any occurs twice."""
    merged = _Numbers([], [], [])
    publishers, firsts, lasts = merged
    repeats = False
    for publisher, first, last in sorted(receipts):
        if last < first:
            continue
        if publishers and publishers[-1] == publisher and first <= lasts[-1] + 1:
            repeats = repeats or first <= lasts[-1]
            lasts[-1] = max(lasts[-1], last)
        else:
            publishers.append(publisher)
            firsts.append(first)
            lasts.append(last)
    return merged, repeats


def _each(numbers: _Numbers, booked: Iterable[tuple[str, int, int]]) -> dict[str, set[int]]:
    """The booked numbers of each publisher."""
    ranges = {publisher: Ranges() for publisher in numbers.publishers}
    for publisher, first, last in sorted(booked):
        ranges[publisher].add(first, last)
    seen: dict[str, set[int]] = {publisher: set() for publisher in ranges}
    for publisher, first, last in zip(*numbers, strict=True):
        for start, end in ranges[publisher].within(first, last):
            seen[publisher].update(range(start, end + 1))
    return seen
