"""What waits: in memory until the disk has it, on disk until the broker has it. Drains beside the live readings."""

import asyncio
from collections import deque
from itertools import islice
from math import inf
from time import time

from gateway import metrics
from gateway.message import Scan, as_entries
from gateway.spool import Entry, Spool, SpoolError
from nexus.runtime import log, mqtt

STORE_SECONDS = 0.25  # what a killed process loses at most, and how often the disk has to flush
RETRY_SECONDS = 2.0
EXPIRE_SECONDS = 10.0
SCANS_AT_ONCE = 2000  # in one transaction
MESSAGES_AT_ONCE = 20  # of the connection's window
SHARE = 0.3  # of the time; the rest is for live readings
# After a connection is made, the subscribers may still be on their way: so long, what nobody got is sent again.
PATIENCE_SECONDS = 30.0


class Backlog:
    """Scans on their way to the disk, and from there to the broker; at most `limit` readings wait in memory.

    When that is full, because the disk takes nothing, the oldest go, and are counted.
    """

    def __init__(self, spool: Spool, limit: int) -> None:
        self._spool = spool
        self._limit = limit
        self._scans: deque[Scan] = deque()
        self._storing = 0  # scans that the disk is being given
        self._flushing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stored = asyncio.Event()
        self._drained = 0  # the last id that the broker has
        self._rate = 0.0  # readings a second, while draining
        self._size = spool.contents.size
        self._log = log.get("spool")
        self.waiting = 0
        self._show()

    @property
    def has_stored(self) -> bool:
        """Whether something is on disk."""
        return self._spool.contents.messages > 0

    def add(self, scan: Scan) -> None:
        """Takes a scan for the disk."""
        self._scans.append(scan)
        self.waiting += len(scan.readings)
        while self.waiting > self._limit and len(self._scans) > self._storing + 1:
            oldest = self._scans[self._storing]
            del self._scans[self._storing]
            self.waiting -= len(oldest.readings)
            metrics.dropped.labels("memory").inc(len(oldest.readings))
        metrics.spool_waiting.set(self.waiting)
        self._wake.set()

    async def store(self) -> None:
        """Brings to disk what comes, for ever. A disk that is full is tried again."""
        failing = False
        while True:
            await self._wake.wait()
            await asyncio.sleep(STORE_SECONDS)
            try:
                await self.flush()
                if failing:
                    self._log.info("the spool takes readings again")
                failing = False
            except SpoolError as error:
                metrics.spool_failures.inc()
                if not failing:
                    self._log.error("the spool takes nothing: readings wait in memory", reason=str(error))
                failing = True
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Brings to disk what waits now. Raises SpoolError."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        self._wake.clear()
        while self._scans:
            scans = list(islice(self._scans, SCANS_AT_ONCE))
            self._storing = len(scans)
            try:
                lost = await self._spool.append([entry for scan in scans for entry in as_entries(scan)])
            except SpoolError:
                self._wake.set()
                raise
            finally:
                self._storing = 0
            for scan in scans:
                self._scans.popleft()
                self.waiting -= len(scan.readings)
            if lost:
                metrics.dropped.labels("bytes").inc(lost)
            self._stored.set()
            self._show()

    async def expire(self) -> None:
        """Drops what is too old, for ever."""
        while True:
            self._show()
            self._show_growth(EXPIRE_SECONDS)
            try:
                if lost := await self._spool.expire():
                    metrics.dropped.labels("age").inc(lost)
            except SpoolError:
                metrics.spool_failures.inc()
            await asyncio.sleep(EXPIRE_SECONDS)

    async def drain(self, connection: mqtt.Connection) -> None:
        """Sends what is on disk, oldest first, for as long as the connection lasts; never more than its share."""
        clock = asyncio.get_running_loop().time
        patience_until = clock() + PATIENCE_SECONDS
        while True:
            self._stored.clear()
            began = clock()
            try:
                sent = await self._send_oldest(connection, patient=began < patience_until)
            except SpoolError as error:
                metrics.spool_failures.inc()
                self._log.error("the spool cannot be read", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if sent is None:
                await asyncio.sleep(RETRY_SECONDS)
            elif sent:
                elapsed = clock() - began
                pause = elapsed * (1 - SHARE) / SHARE
                rate = sent / (elapsed + pause)
                self._rate += (rate - self._rate) * (0.1 if self._rate else 1)
                self._show()
                await asyncio.sleep(pause)
            else:
                self._rate = 0.0
                await self._stored.wait()

    async def _send_oldest(self, connection: mqtt.Connection, *, patient: bool) -> int | None:
        """Gives the readings that the broker has now; they are off the disk. None if nobody was there to get them."""
        entries = await self._spool.oldest(self._drained, MESSAGES_AT_ONCE)
        codes = await self._publish(connection, entries)
        if patient and mqtt.NOBODY in codes:
            return None
        for entry, code in zip(entries, codes, strict=True):
            if code >= mqtt.REFUSED:
                metrics.refused.labels(mqtt.reason(code)).inc()
            else:
                metrics.published.inc()
            self._drained = entry.id
        try:
            await self._spool.remove(entries)
        except SpoolError:  # a full disk may not even take deletions: they are sent again after a restart
            metrics.spool_failures.inc()
        return sum(entry.readings for entry in entries)

    async def _publish(self, connection: mqtt.Connection, entries: list[Entry]) -> list[int]:
        """The broker's answer for each. One that is larger than the broker takes would end the connection."""
        answers: list[asyncio.Future[int] | None] = []
        for entry in entries:
            fits = len(entry.payload) + len(entry.topic) + 64 <= connection.maximum_packet_size
            answers.append(await connection.publish(entry.topic, entry.payload) if fits else None)
        return [mqtt.PACKET_TOO_LARGE if answer is None else await answer for answer in answers]

    def _show(self) -> None:
        contents = self._spool.contents
        metrics.spool_waiting.set(self.waiting)
        metrics.spool_readings.set(contents.readings)
        metrics.spool_bytes.set(contents.size)
        metrics.spool_oldest.set(time() - contents.oldest / 1000 if contents.oldest is not None else 0)
        left = contents.readings / self._rate if self._rate else inf
        metrics.spool_drain.set(left if contents.readings else 0)

    def _show_growth(self, seconds: float) -> None:
        size, before = self._spool.contents.size, self._size
        self._size = size
        metrics.spool_full.set((self._spool.max_bytes - size) / ((size - before) / seconds) if size > before else inf)
