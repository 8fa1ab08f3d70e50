"""The history of a device's tags out of the database, in the order of time, however much it is."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import tuple_row

from nexus.contract import topic
from nexus.contract.reading import Reading
from nexus.process.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from db.migrate import Connection

WINDOW = timedelta(hours=1)  # the server sorts one at a time
_ROWS = 2_000  # at a time, out of the server

_HISTORY = """
    SELECT (extract(epoch FROM time) * 1000)::bigint, topic, value, value_str, quality
    FROM metrics
    WHERE topic = ANY(%(topics)s) AND time >= %(start)s AND time < %(end)s
    ORDER BY time
"""


def history(
    connection: "Connection", path: str, tags: Collection[str], start: datetime, end: datetime
) -> Iterator[Reading]:
    """The readings from `start` until before `end`. Raises ConfigError, UnavailableError."""
    try:
        yield from _windows(connection, path, tags, start, end)
    except psycopg.errors.UndefinedTable:
        raise ConfigError("NEXUS_DATABASE_URL: there is no history: run `nexus db migrate`") from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(f"NEXUS_DATABASE_URL: {_said(error)}: this needs the role nexus_reader") from None
    except psycopg.Error as error:
        raise UnavailableError(f"NEXUS_DATABASE_URL: {_said(error)}") from None


def _said(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _windows(
    connection: "Connection", path: str, tags: Collection[str], start: datetime, end: datetime
) -> Iterator[Reading]:
    names = {topic.tag(path, tag): tag for tag in tags}
    rows = _ROWS if psycopg.capabilities.has_stream_chunked() else 1
    while start < end:
        until = min(start + WINDOW, end)
        asked = {"topics": list(names), "start": start, "end": until}
        with connection.cursor(row_factory=tuple_row) as cursor:
            for time, name, value, text, quality in cursor.stream(_HISTORY, asked, size=rows):
                yield Reading(names[name], time, text if value is None else value, quality)
        start = until


def moment(text: str, now: datetime) -> datetime:
    """A time like 2026-11-20 or 2026-11-20T06:30, in this machine's zone, or an age like 7d. Raises ValueError."""
    from nexus.process.duration import seconds

    try:
        return now - timedelta(seconds=seconds(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r:.60} is not a time: write it like 2026-11-20, 2026-11-20T06:30, or 7d for 7 days ago"
        ) from None
