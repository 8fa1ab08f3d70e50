"""Alarms out of the database: what stands now, and the journal."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from console.historian.alarms import COLUMNS, message_of
from nexus.contract.alarm import AlarmMessage

if TYPE_CHECKING:
    from db.migrate import Connection

_NOW = f"SELECT {COLUMNS} FROM alarms_now"  # noqa: S608
_JOURNAL = f"""
SELECT * FROM (
    SELECT {COLUMNS} FROM alarm_events
    WHERE time >= %(start)s AND time < %(stop)s AND (%(topic)s::text IS NULL OR topic = %(topic)s
        OR starts_with(topic, %(topic)s || '/'))
    ORDER BY time DESC LIMIT %(most)s
) AS newest ORDER BY 7
"""  # noqa: S608


def now(connection: "Connection") -> list[AlarmMessage]:
    """The last messages of alarms that are not normal. Raises psycopg.Error."""
    return [message_of(row) for row in connection.execute(_NOW.encode())]


def devices(connection: "Connection") -> set[str]:
    """The paths of those that have alarms, or had. Raises psycopg.Error."""
    return {str(path) for (path,) in connection.execute("SELECT DISTINCT device FROM alarm_states")}


def journal(
    connection: "Connection", topic: str | None, start: datetime, stop: datetime, most: int
) -> Iterator[AlarmMessage]:
    """The newest events, in the order of time: of all, of one alarm, or of what is below a topic."""
    asked = {"topic": topic, "start": start, "stop": stop, "most": most}
    for row in connection.execute(_JOURNAL.encode(), asked):
        yield message_of(row)
