"""The demo's alarms: each event as it is stored, and what stands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nexus.cli import alarm_journal, alarm_table

if TYPE_CHECKING:
    from db.migrate import Connection

_MOST = 100  # events that are new at once
_START = timedelta(seconds=30)  # what came while everything started is news too


class DemoAlarms:
    """Reads the journal since the demo began."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._began = datetime.now(UTC) - _START
        self._seen: set[tuple[str, int]] = set()

    def events(self) -> Iterator[str]:
        """A line for each event that has come since the last call."""
        for message in alarm_journal.journal(self._connection, None, self._began, datetime.now(UTC), _MOST):
            if (key := (message.topic, message.record.ts)) not in self._seen:
                self._seen.add(key)
                yield alarm_table.event(message)

    def standing(self) -> list[str]:
        """What stands now, with how many wait for a person; nothing where nothing does."""
        messages = alarm_table.in_order(alarm_journal.now(self._connection))
        return alarm_table.standing(messages) if messages else []
