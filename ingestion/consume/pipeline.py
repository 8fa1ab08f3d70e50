"""Message → batch → commit → acknowledgement and receipt. Decoding goes on while batches are being written."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import time

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from ingestion import metrics
from ingestion.consume.batch import Batch, Delivery, acknowledge
from ingestion.consume.receipts import Receipts
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import Window
from ingestion.settings import Settings
from ingestion.store.bisect import Parts, write_bisecting
from ingestion.store.database import BatchRefusedError, DatabaseAwayError
from ingestion.store.lateness import LatenessMonitor
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from ingestion.store.withheld import receipts_left
from ingestion.store.writer import ATTEMPTS, Writer
from nexus.contract.alarm import AlarmMessage
from nexus.contract.audit import Record
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.errors import InvariantError
from nexus.process.run import task_group

MOST_BYTES = 48_000_000  # of decoded messages, and the same again of undecoded ones
LAG_SECONDS = 60.0  # how long the last batch counts for the lag
_DAY_MS = 86_400_000
_DECODED_AT_ONCE = 1_000  # points to decode before other tasks get a turn: a running COPY must not starve


class Pipeline:
    """Takes deliveries, and acknowledges them, in order, once their rows are committed.

    Up to `buffer_points` decoded points wait for the database. Beyond that, messages wait undecoded and unacknowledged,
    so the broker stops at our receive maximum and keeps the rest. With MOST_BYTES of undecoded messages the pipeline is
    `full`.
    """

    def __init__(
        self,
        settings: Settings,
        encoding: Encoding,
        quota: Quota,
        lateness: LatenessMonitor,
        *,
        writers: Sequence[Writer],
        receipts: Receipts,
    ) -> None:
        self._settings = settings
        self._lateness = lateness
        self._writers = writers
        self._receipts = receipts
        self._encoding = encoding
        self._quota = quota
        self._oldest_ms = settings.oldest_days * _DAY_MS
        self._window = Window.at(0, 0)
        self._undecoded: deque[Delivery] = deque()
        self._undecoded_bytes = 0
        self._open = Batch()
        self._writing: deque[Batch] = deque()
        self._points = 0  # decoded and not committed, without the open batch
        self._bytes = 0
        self._wake = asyncio.Event()
        self._finishing = False
        self._prepared = False
        self._decoding = False
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("pipeline")
        self._outage: str | None = None
        self._warned_of_conflicts = False
        self._lag, self._lag_until = 0.0, 0.0
        self._when_room: set[Callable[[], None]] = set()
        metrics.oldest.set_function(self._age)
        metrics.buffered.set_function(lambda: self._points + self._open.points)
        metrics.undecoded.set_function(lambda: len(self._undecoded))

    @property
    def full(self) -> bool:
        """Whether the consumer should stop reading."""
        return self._undecoded_bytes > MOST_BYTES

    @property
    def lag(self) -> float:
        """Seconds from a reading to its commit: of the last batch, or more if something has waited longer."""
        return max(self._lag if self._clock() < self._lag_until else 0.0, self._age())

    @property
    def outage(self) -> str | None:
        """Why nothing can be written or decoded now; None while all is well."""
        return self._outage or self._lateness.fault

    def when_room(self, call: Callable[[], None]) -> None:
        """Has `call` called once when `full` has ended."""
        self._when_room.add(call)

    def lateness_changed(self) -> None:
        """Resumes decoding if it had to wait for the lateness."""
        self._decode_soon()

    def receive(self, delivery: Delivery) -> None:
        """Takes one message; never waits."""
        self._undecoded.append(delivery)
        self._undecoded_bytes += delivery.size
        self._decode_soon()

    def forget_undecoded(self, session: int) -> None:
        """Drops undecoded messages of this session: their connection is gone, and the broker sends them again."""
        left = [one for one in self._undecoded if one.session != session or one.packet_id is None]
        self._undecoded = deque(left)
        self._undecoded_bytes = sum(one.size for one in left)
        self._wake.set()

    def finish(self) -> None:
        """Ends the input: `run` returns once everything is committed and acknowledged."""
        self._finishing = True
        self._decode_soon()
        self._wake.set()

    async def run(self) -> None:
        """Writes batches, one at a time with each writer, until `finish` was called and nothing is left."""
        async with task_group() as group:
            for number, writer in enumerate(self._writers):
                supervisor.part(group, self._write_with(writer), name=f"writer-{number}")

    async def _write_with(self, writer: Writer) -> None:
        while (batch := await self._next()) is not None:
            await self._commit(writer, batch)
            self._settle(batch)

    async def _next(self) -> Batch | None:
        """The next batch, when it is due; None when there will be none."""
        while (left := self._due_in()) != 0:
            if self._finishing and not self._undecoded:
                return None
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
        return self._cut()

    def _due_in(self) -> float | None:
        """Seconds until the open batch should be written; None while there is nothing in it."""
        if self._finishing and self._open.deliveries:
            return 0.0
        return self._open.due_in(self._clock(), self._settings.batch_points, self._settings.batch_seconds)

    def _cut(self) -> Batch:
        batch, self._open = self._open, Batch()
        self._writing.append(batch)
        self._points += batch.points
        self._bytes += batch.size
        self._decode_soon()
        return batch

    def _settle(self, batch: Batch) -> None:
        if batch.committed or not self._writing:
            raise InvariantError("more would be acknowledged than was committed")
        batch.committed = True
        self._points -= batch.points
        self._bytes -= batch.size
        for numbers in batch.receipts:
            self._receipts.add(*numbers)
        while self._writing and self._writing[0].committed:
            acknowledge(self._writing.popleft().deliveries)
        self._decode_soon()

    def _room(self) -> int:
        """How many points may be decoded now."""
        if self._lateness.latest is None or self._bytes + self._open.size >= MOST_BYTES:
            return 0
        points = self._open.points
        return min(self._settings.most_points - points, self._settings.buffer_points - self._points - points)

    def _decode_soon(self) -> None:
        """Decodes waiting messages, once the writer has its work."""
        if self._undecoded and not self._decoding:
            self._decoding = True
            asyncio.get_running_loop().call_soon(self._decode_waiting)

    def _decode_waiting(self) -> None:
        self._decoding = False
        was_full = self.full
        if self._undecoded and (room := self._room()) > 0:
            self._decode(self._open.points + min(room, _DECODED_AT_ONCE))
        if self._room() > 0:
            self._decode_soon()
        if was_full and not self.full:
            waiting, self._when_room = self._when_room, set()
            for call in waiting:
                call()

    def _decode(self, enough: int) -> None:
        """Decodes waiting messages until the open batch has `enough` points, or too many bytes."""
        batch, undecoded, window, add = self._open, self._undecoded, self._window_now(), self._encoding.add
        before, most_bytes = len(batch.deliveries), MOST_BYTES - self._bytes
        if not before:
            batch.began = self._clock()
        while undecoded and batch.points < enough and batch.size < most_bytes:
            delivery = undecoded.popleft()
            self._undecoded_bytes -= (size := delivery.size)
            batch.size += size
            batch.deliveries.append(delivery)
            batch.windows.append(window)
            add(batch, delivery.topic, delivery.payload, window, arrived=delivery.arrived)
        metrics.messages.inc(len(batch.deliveries) - before)
        if not before or batch.points >= self._settings.batch_points or self._finishing:
            self._wake.set()

    def _window_now(self) -> Window:
        """The window that times are judged by; renewed at most once a millisecond."""
        now, lateness = now_ms(), self._lateness.latest
        if self._window.now != now and lateness is not None:
            self._window = lateness.window(now, now - self._oldest_ms)
        return self._window

    async def prepare(self) -> None:
        """Waits until the database accepts writes: messages before that would only wait here."""
        if not self._prepared:
            await self._written(self._writers[0], Batch())
            self._prepared = True

    async def _write(self, writer: Writer, batch: Batch, attempts: int = ATTEMPTS) -> Written:
        """Writes once. Raises DatabaseAwayError, BatchRefusedError."""
        began = self._clock()
        written = await writer.write(batch, attempts)
        metrics.write_seconds.observe(self._clock() - began)
        return written

    async def _written(self, writer: Writer, batch: Batch) -> Written:
        """Writes as much of a batch as can be written, waiting for the database if need be."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseAwayError),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=self._away,
            reraise=True,
        )
        parts = Parts(self._encoding, self._quota, batch)
        async for attempt in retrying:
            with attempt:
                await parts.write(partial(self._write_or_bisect, writer, batch.receipts))
        self._back()
        return parts.written

    async def _write_or_bisect(self, writer: Writer, receipts: list[tuple[str, int, int]], part: Batch) -> Written:
        """Writes a part of a batch; what makes it fail is found by bisecting."""
        try:
            return await self._write(writer, part)
        except BatchRefusedError as error:
            supervisor.failed("message", "writing a batch", error)
            if part.deliveries:
                write = partial(self._write, writer, attempts=1)
                return await write_bisecting(self._encoding, self._quota, write, part, receipts)
            raise error if part.rejects else DatabaseAwayError(str(error)) from error

    async def _commit(self, writer: Writer, batch: Batch) -> None:
        written = await self._written(writer, batch)
        batch.receipts = receipts_left(self._encoding, batch, written.lost)
        metrics.batch_points.observe(batch.points)
        metrics.rows.inc(written.rows)
        metrics.late.inc(batch.late.count)
        metrics.duplicates.inc(written.duplicates)
        metrics.conflicts.inc(written.conflicts)
        metrics.rejects.inc(written.rejects)
        metrics.audit.inc(sum(isinstance(one, Record) for one in batch.records))
        metrics.alarms.inc(sum(isinstance(one, AlarmMessage) for one in batch.records))
        if written.conflicts and not self._warned_of_conflicts:
            self._warned_of_conflicts = True
            self._log.warning("readings that conflict with a stored value are kept as rejects")
        if newest := max(batch.rows.newest, batch.late.newest):
            self._lag = max(0.0, time() - newest / 1000)
            self._lag_until = self._clock() + LAG_SECONDS
            metrics.lag.set(self._lag)

    def _age(self) -> float:
        """Seconds since the oldest unacknowledged message arrived."""
        oldest = self._writing[0] if self._writing else self._open
        if oldest.deliveries:
            return self._clock() - oldest.began
        return max(0.0, time() - self._undecoded[0].arrived / 1000) if self._undecoded else 0.0

    def _away(self, state: RetryCallState) -> None:
        reason = str(state.outcome.exception()) if state.outcome else ""
        if self._outage is None:
            self._log.error("database away: messages stay with the broker", error=reason)
        self._outage = reason
        metrics.database_up.set(0)

    def _back(self) -> None:
        metrics.database_up.set(1)
        if self._outage is not None:
            self._log.info("database is back", after=self._outage)
            self._outage = None
