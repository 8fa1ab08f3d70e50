"""What the database has of the past: asked once in a while, because a migration or a setting may change it."""

import asyncio
from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection

from console.historian import queries
from console.historian.buckets import Kept, Source

_GOOD_SECONDS = 60.0


class KeptNow:
    """The answer, at most a minute old."""

    def __init__(self) -> None:
        self._kept: Kept | None = None
        self._asked = float("-inf")

    async def get(self, connection: AsyncConnection) -> Kept:
        """What there is now. Raises psycopg.Error."""
        now = asyncio.get_running_loop().time()
        if self._kept is None or now - self._asked > _GOOD_SECONDS:
            self._kept, self._asked = await _ask(connection), now
        return self._kept


async def _ask(connection: AsyncConnection) -> Kept:
    zone, is_timescale = await (await connection.execute(queries.KEPT)).fetchone() or ("UTC", False)
    if not is_timescale:
        return Kept(False, zone, {})
    rollups, config = await (await connection.execute(queries.ROLLUPS)).fetchone() or (False, None)
    days = {source: (config or {}).get(source.value) for source in Source}
    now = datetime.now(UTC)
    return Kept(rollups, zone, {source: now - timedelta(days=age) for source, age in days.items() if age is not None})
