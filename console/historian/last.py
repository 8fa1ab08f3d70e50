"""The newest reading of each of many tags."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from console.historian import queries, times
from console.historian.values import plain, quality_name
from nexus.contract.description import TagDescription

# Most tags have one of this hour, and are found without a look at older chunks.
_AT_ONCE = 10_000  # topics of a statement
_LOOKS = (timedelta(hours=1), timedelta(days=1), timedelta(days=14), timedelta(days=400_000))


async def values(connection: AsyncConnection, topics: Sequence[str]) -> list[dict[str, Any]]:
    """In the order of `topics`; those without a reading are left out. Raises psycopg.Error."""
    found: dict[str, dict[str, Any]] = {}
    for look in _LOOKS:
        missing = [topic for topic in topics if topic not in found]
        if not missing:
            break
        asked = {"topics": sorted(missing), "since": _since(look)}  # neighbours share pages of the index
        for topic, time, value, text, quality, unit in await _rows(connection, asked):
            found[topic] = {
                "topic": topic,
                "time": times.text(time),
                "value": plain(value, text),
                "quality": quality_name(quality),
                "unit": unit,
            }
    return [found[topic] for topic in topics if topic in found]


async def not_good(connection: AsyncConnection, topics: Sequence[str]) -> set[str]:
    """Those whose newest reading is not good, or that have none. Raises psycopg.Error.

    One pass in the database: of many tags that are good nothing comes back.
    """
    found: set[str] = set()
    for first in range(0, len(topics), _AT_ONCE):
        missing: Sequence[str] = topics[first : first + _AT_ONCE]
        for look in _LOOKS:
            asked = {"topics": missing, "since": _since(look)}
            rows = await (await connection.execute(queries.NOT_GOOD, asked, prepare=False, binary=True)).fetchall()
            found.update(topic for topic, quality in rows if quality is not None)
            missing = [topic for topic, quality in rows if quality is None]
            if not missing:
                break
        found.update(missing)
    return found


def _since(look: timedelta) -> datetime:
    return max(times.EARLIEST, datetime.now(UTC) - look) if look < _LOOKS[-1] else times.EARLIEST


async def units(
    connection: AsyncConnection, topics: Sequence[str], described: Mapping[str, TagDescription]
) -> dict[str, str | None]:
    """The unit of each topic, as its gateway describes it, else of its newest reading. Raises psycopg.Error."""
    known = {topic: described[topic].unit for topic in topics if topic in described}
    unknown = [topic for topic in topics if topic not in known]
    return known | {one["topic"]: one["unit"] for one in await values(connection, unknown)}


async def _rows(connection: AsyncConnection, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    # A plan of its own knows `since` and has the newest chunks alone; one that is kept has all, for each topic.
    return await (await connection.execute(queries.LAST, asked, prepare=False, binary=True)).fetchall()
