"""Exactly once by the unique index on (topic, time): the default way into the table."""

import psycopg
from psycopg import AsyncConnection

from ingestion.batch import Batch
from ingestion.database import is_of_the_data
from ingestion.rows import COLUMNS
from ingestion.tables import Rest, Topics, Written, copy_rows, put_halving, set_aside

# Its columns by name: LIKE metrics would need the right to read that table, which a writer has not.
_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS arriving (
    topic text, unit text, time timestamptz, value float8, value_str text, quality smallint
) ON COMMIT DELETE ROWS
"""
_MERGE = f"INSERT INTO metrics ({COLUMNS}) SELECT {COLUMNS} FROM arriving ON CONFLICT DO NOTHING"  # noqa: S608


class Exact:
    """A plain COPY, and only for a batch that meets a repetition the way through a temporary table."""

    unique = True

    def __init__(self) -> None:
        self._topics = Topics()
        self._repeating = False  # the last batch held repetitions; the next one may too

    def reconnected(self) -> None:
        self._topics.forget()

    async def store(self, connection: AsyncConnection, batch: Batch) -> Written:
        """Writes a batch in one transaction."""
        rows, late, rejects = batch.rows, batch.late, list(batch.rejects)
        ordered, ordered_late = rows.in_order(), late.in_order()
        if not self._repeating:
            try:
                async with connection.transaction():
                    await copy_rows(connection, "metrics", ordered)
                    await copy_rows(connection, "metrics_late", ordered_late)
                    await set_aside(connection, rejects)
                    new = await self._topics.add(connection, rows, late)
                self._topics.known(new)
                return Written(rows.count + late.count, 0, len(rejects))
            except psycopg.Error as error:
                if not is_of_the_data(error):
                    raise

        async def merge(some: Rest) -> int:
            return await _merge(connection, some)

        async def hold(some: Rest) -> int:
            return await copy_rows(connection, "metrics_late", some)

        async with connection.transaction():
            duplicates, refused = await put_halving(connection, ordered, merge)
            refused += (await put_halving(connection, ordered_late, hold))[1]
            rejects += refused
            await set_aside(connection, rejects)
            new = await self._topics.add(connection, rows, late, {reject.topic for reject in refused})
        self._topics.known(new)
        self._repeating = duplicates > 0
        return Written(rows.count + late.count - len(refused) - duplicates, duplicates, len(rejects))


async def _merge(connection: AsyncConnection, rows: Rest) -> int:
    """Stores the rows that are not there yet; gives how many were."""
    await connection.execute(_STAGE)
    await copy_rows(connection, "arriving", rows)
    merged = await connection.execute(_MERGE)
    await connection.execute("TRUNCATE arriving")
    return len(rows) - merged.rowcount
