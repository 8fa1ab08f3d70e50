"""What people have written about a time of a tag or a device."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from console.historian import times
from nexus.contract.topic import ROOT

_FOUND = """
SELECT id, created AT TIME ZONE 'UTC', person, topic, device, start AT TIME ZONE 'UTC', stop AT TIME ZONE 'UTC', text
FROM annotations
WHERE id > %(after)s AND start < %(end)s AND stop >= %(start)s
  AND (%(all)s OR topic = ANY(%(topics)s) OR device = ANY(%(devices)s))
ORDER BY id
LIMIT %(limit)s
"""
_ADD = """
INSERT INTO annotations (person, topic, device, start, stop, text) VALUES (%s, %s, %s, %s, %s, %s)
RETURNING id, created AT TIME ZONE 'UTC', person, topic, device, start AT TIME ZONE 'UTC', stop AT TIME ZONE 'UTC', text
"""


@dataclass(frozen=True)
class Annotation:
    """One about a topic or a device, by a person."""

    person: str
    topic: str | None
    device: str | None
    start: datetime
    end: datetime
    text: str


@dataclass(frozen=True)
class About:
    """Which are looked for: those about the topics and devices, or all if there is none of either."""

    topics: Sequence[str]
    devices: Sequence[str]
    start: datetime
    end: datetime


async def find(connection: AsyncConnection, about: About, after: int, limit: int) -> list[dict[str, Any]]:
    """In the order in which they were written, from the first after the number `after`."""
    asked = {
        "all": not (about.topics or about.devices),
        "topics": list(about.topics),
        "devices": sorted({*above(about.topics), *about.devices}),
        "start": about.start,
        "end": about.end,
        "after": after,
        "limit": limit,
    }
    return [_shown(row) for row in await (await connection.execute(_FOUND, asked)).fetchall()]


async def add(connection: AsyncConnection, one: Annotation) -> dict[str, Any]:
    """Stores it, and gives what is stored."""
    row = (one.person, one.topic, one.device, one.start, one.end, one.text)
    [stored] = await (await connection.execute(_ADD, row)).fetchall()
    return _shown(stored)


def above(topics: Iterable[str]) -> set[str]:
    """The paths of the devices that topics may belong to, and of what these are parts of."""
    found = set()
    for topic in topics:
        path = topic.removeprefix(ROOT)
        while "/" in path:
            path = path.rpartition("/")[0]
            found.add(path)
    return found


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    number, created, person, topic, device, start, end, text = row
    return {
        "id": number,
        "created": times.text(created),
        "person": person,
        "topic": topic,
        "device": device,
        "from": times.text(start),
        "to": times.text(end),
        "text": text,
    }
