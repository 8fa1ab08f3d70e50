"""Exactly once by the unique index on (topic, time): the default insert strategy."""

import psycopg
from psycopg import AsyncConnection

from ingestion.consume.batch import Batch, Reject
from ingestion.decode.rows import COLUMNS, Row
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
    value_reject,
)

# Columns by name: LIKE metrics would need the right to read that table, which a writer does not have.
_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS arriving (
    topic text, unit text, time timestamptz, value float8, value_str text, quality smallint
) ON COMMIT DELETE ROWS
"""
_MERGE = f"INSERT INTO metrics ({COLUMNS}) SELECT {COLUMNS} FROM arriving ON CONFLICT DO NOTHING"  # noqa: S608
_CONFLICTS = """
SELECT found.topic, found.unit, round(extract(epoch FROM found.time) * 1000)::bigint,
       found.value, found.value_str, found.quality
FROM (
    SELECT array_agg(topic) AS topics, array_agg(time) AS times, array_agg(value) AS numbers,
           array_agg(value_str) AS texts, array_agg(quality) AS qualities, array_agg(unit) AS units
    FROM arriving
) AS came, conflicting(topics, times, numbers, texts, qualities, units) AS found
"""
_MOST_DAYS = 50  # a transaction, where the database has not enough locks for more: each day is a chunk, and costs some
_OTHER_VALUE = "the same topic has another value at the same time already"


class ExactInsert:
    """A plain COPY; through a temporary table only when the batch meets a repetition."""

    unique = True

    def __init__(self, quota: Quota | None = None) -> None:
        self._topics = Topics()
        self._quota = quota or Quota()
        self._repeating = False  # the last batch had repetitions; the next one may too

    def reconnected(self) -> None:
        self._topics.forget()

    async def store(self, connection: AsyncConnection, batch: Batch) -> Written:
        """Writes a batch in one transaction, or in several if its rows are of more days than one can lock."""
        try:
            return await self._store_together(connection, batch)
        except psycopg.errors.OutOfMemory:
            parts = batch.rows.by_days(_MOST_DAYS)
            if len(parts) < 2:
                raise
        written = Written(0, 0, 0)
        for rows in parts:  # should the rest have to be written again, what is committed counts as a repetition
            written += await self._store_deduplicated(connection, Batch(rows=rows))
        rest = Batch(late=batch.late, records=batch.records, rejects=batch.rejects)
        return written + await self._store_deduplicated(connection, rest)

    async def _store_together(self, connection: AsyncConnection, batch: Batch) -> Written:
        if not self._repeating:
            try:
                return await self._store_plain(connection, batch)
            except psycopg.Error as error:
                if not is_of_the_data(error):
                    raise
        return await self._store_deduplicated(connection, batch)

    async def _store_plain(self, connection: AsyncConnection, batch: Batch) -> Written:
        rows, late = batch.rows, batch.late
        async with connection.transaction():
            await copy_rows(connection, "metrics", rows.in_order())
            await copy_rows(connection, "metrics_late", late.in_order())
            await insert_records(connection, batch.records)
            await insert_rejects(connection, batch.rejects)
            new = await self._topics.add(connection, rows, late)
        self._topics.known(new)
        return Written(rows.count + late.count, 0, len(batch.rejects))

    async def _store_deduplicated(self, connection: AsyncConnection, batch: Batch) -> Written:
        """Skips rows that are stored already; rejects what is refused, and what contradicts a stored row."""
        conflicts: list[Reject] = []

        async def merge(some: EncodedRows) -> int:
            repeated, contradicting = await _merge(connection, some)
            conflicts.extend(contradicting)
            return repeated

        async def hold(some: EncodedRows) -> int:
            return await copy_rows(connection, "metrics_late", some)

        rows, late = batch.rows, batch.late
        admitted: list[Reject] = []
        try:
            async with connection.transaction():
                repeated, refused = await insert_bisecting(connection, rows.in_order(), merge)
                refused += (await insert_bisecting(connection, late.in_order(), hold))[1]
                admitted, lost = admit(self._quota, (*refused, *conflicts))
                rejects = [*batch.rejects, *admitted]
                await insert_records(connection, batch.records)
                await insert_rejects(connection, rejects)
                new = await self._topics.add(connection, rows, late, {reject.topic for reject in refused})
        except BaseException:
            self._quota.returned(admitted)
            raise
        self._topics.known(new)
        self._repeating = repeated > 0
        duplicates = repeated - len(conflicts)
        stored = rows.count + late.count - len(refused) - repeated
        contradicting = sum(one.reason == _OTHER_VALUE for one in admitted)
        return Written(stored, duplicates, len(rejects), contradicting, lost)


async def _merge(connection: AsyncConnection, rows: EncodedRows) -> tuple[int, list[Reject]]:
    """Inserts the rows that are not stored yet; returns how many were, and those that contradict what is stored."""
    await connection.execute(_STAGE)
    await copy_rows(connection, "arriving", rows)
    merged = await connection.execute(_MERGE)
    repeated = len(rows) - merged.rowcount
    found = await (await connection.execute(_CONFLICTS)).fetchall() if repeated else []
    await connection.execute("TRUNCATE arriving")
    return repeated, [value_reject(Row._make(row), _OTHER_VALUE) for row in found]
