"""Keeps alarms on disk: a thread writes, many at once. A failing disk stops no alarm."""

import sqlite3
from collections import deque
from contextlib import suppress
from pathlib import Path

from gateway import metrics
from gateway.alarms import record_file
from gateway.alarms.record_file import Contents, Update
from gateway.delivery.batch import Batch
from gateway.delivery.outbox import Outbox
from gateway.delivery.spool_thread import SpoolThread
from nexus.process import log
from nexus.process.clock import now_ms

ANSWER_SECONDS = 2.0  # a disk that takes longer counts as hung, and messages are published before they are on it
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 0.5
SETTLED_AT_ONCE = 2000
MOST_EVENTS = 100_000  # that wait for the spool to have them; beyond that the oldest are left to the spool alone


class Records:
    """One gateway's file. Events stay in it until the spool has them, or they have arrived."""

    def __init__(self, file: Path, outbox: Outbox) -> None:
        self._file, self._outbox = file, outbox
        self._thread = SpoolThread("alarms")
        self._database: sqlite3.Connection | None = None
        self._update = Update()
        self.last = now_ms()  # event's number; beyond those of a file that could not be opened
        self._handed: deque[tuple[int, Batch]] = deque()
        self._log = log.get("alarms")
        self.failing: str | None = None  # why the disk takes nothing

    async def open(self) -> Contents:
        """What the file holds; nothing if it cannot be opened for now."""
        try:
            found = await self._thread.do(self._opened, OPEN_SECONDS)
        except (sqlite3.Error, OSError) as error:
            self._fails(str(error))
            return Contents()
        self.last = max([self.last, *(number for number, *_ in found.events)])
        return found

    def keep(self, topic: str, payload: bytes, *, is_event: bool = True) -> int:
        """Queues a message for the disk, as an event too unless `is_event` is false; returns the event's number."""
        self._update.messages[topic] = payload
        self.last += 1
        if is_event:
            self._update.events.append((self.last, topic, payload))
        return self.last

    def forget(self, topic: str) -> None:
        """Queues that there is no such alarm any more."""
        self._update.messages[topic] = None

    def device(self, path: str, *, is_ours: bool) -> None:
        """Queues whether the device is polled with this file."""
        self._update.devices[path] = is_ours

    def handed(self, number: int, batch: Batch) -> None:
        """The event was handed to the publisher, as this batch."""
        self._handed.append((number, batch))
        if len(self._handed) > MOST_EVENTS:
            self._update.done.append(self._handed.popleft()[0])

    async def store(self) -> None:
        """Writes what is queued, as far as the disk allows."""
        self._settle()
        if not self._update:
            return
        update, self._update = self._update, Update()
        try:
            await self._thread.do(lambda: self._write(update), ANSWER_SECONDS)
            self._fails(None)
        except (sqlite3.Error, OSError) as error:
            update.add(self._update, MOST_EVENTS)
            self._update = update
            self._fails(str(error))
        except BaseException:
            update.add(self._update, MOST_EVENTS)
            self._update = update
            raise

    def close(self) -> None:
        """Writes what is queued, if the disk answers, and closes the file."""
        self._settle()
        update = self._update

        def last() -> None:
            with suppress(sqlite3.Error, OSError):
                if update:
                    self._write(update)
            if self._database is not None:
                self._database.close()

        self._thread.end(last, CLOSE_SECONDS)

    def _settle(self) -> None:
        """Forgets the events that are safe in the spool, or have arrived."""
        for _ in range(min(len(self._handed), SETTLED_AT_ONCE)):
            number, batch = self._handed.popleft()
            if self._outbox.is_safe(batch):
                self._update.done.append(number)
            else:
                self._handed.append((number, batch))

    def _opened(self) -> Contents:
        if not self._file.exists():
            return Contents()  # made when there is something to write: many gateways have no alarms
        self._database = record_file.opened(self._file)
        return record_file.contents(self._database)

    def _write(self, update: Update) -> None:
        if self._database is None:
            self._database = record_file.opened(self._file)
        record_file.write(self._database, update)

    def _fails(self, reason: str | None) -> None:
        """Notes the result of a write; logs once when writing begins to fail, and once when it works again."""
        if reason is not None:
            metrics.alarm_record_failures.inc()
        if reason is not None and self.failing is None:
            self._log.error("the alarms' record cannot be written: alarms go on in memory", reason=reason)
        elif reason is None and self.failing is not None:
            self._log.info("the alarms' record is written again")
        self.failing = reason
