"""Message → batch → commit → acknowledgement. Decoding goes on while a batch is being written."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import time

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from ingestion import metrics
from ingestion.batch import Batch, Reject
from ingestion.rows import Row, row
from ingestion.settings import Settings
from ingestion.writer import DatabaseAway, Writer
from nexus.contract.codec import DecodeError, decode
from nexus.runtime import log


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, and how to tell the broker that it may forget it."""

    topic: str
    payload: bytes
    acknowledge: Callable[[], None]


class Pipeline:
    """Takes deliveries, and acknowledges each once what it said is committed.

    Decoded points wait up to `buffer_points`; beyond, messages wait undecoded and unacknowledged, so that the broker
    stops at our receive maximum and keeps the rest.
    """

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._held: deque[Delivery] = deque()
        self._open = Batch()
        self._opened: list[Delivery] = []
        self._wake = asyncio.Event()
        self._finishing = False
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("pipeline")
        self._outage: str | None = None

    def receive(self, delivery: Delivery) -> None:
        """Takes one message; never waits."""
        metrics.messages.inc()
        if self._held or self._open.points >= self._settings.buffer_points:
            self._held.append(delivery)
            return
        self._decode(delivery)
        if len(self._opened) == 1 or self._open.points >= self._settings.batch_points:
            self._wake.set()

    def forget_held(self) -> None:
        """Drops what is undecoded: the connection that brought it is gone, and the broker sends it again."""
        self._held.clear()

    def finish(self) -> None:
        """No more will come: `run` returns when all is committed and acknowledged."""
        self._finishing = True
        self._wake.set()

    @property
    def database_up(self) -> bool:
        """Whether the last write went well, as far as there was one."""
        return self._outage is None

    async def run(self) -> None:
        """Writes batch after batch until `finish` was called and nothing is left."""
        while True:
            await self._due()
            batch, deliveries = self._open, self._opened
            self._open, self._opened = Batch(), []
            if not deliveries and not self._held:
                if self._finishing:
                    return
                continue
            self._decode_held()
            await self._commit(batch)
            for delivery in deliveries:
                delivery.acknowledge()

    async def _due(self) -> None:
        """Waits until the open batch should be written."""
        while not self._finishing:
            self._wake.clear()
            left = self._open.due_in(self._clock(), self._settings.batch_points, self._settings.batch_seconds)
            if left == 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _decode_held(self) -> None:
        while self._held and self._open.points < self._settings.buffer_points:
            self._decode(self._held.popleft())
        metrics.held.set(len(self._held))

    def _decode(self, delivery: Delivery) -> None:
        rows, rejects = read(delivery, int(time() * 1000))
        self._open.add(rows, rejects, self._clock())
        self._opened.append(delivery)

    async def _commit(self, batch: Batch) -> None:
        metrics.buffered.set(batch.points + self._open.points)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseAway),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=self._away,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                began = self._clock()
                written = await self._writer.write(batch.rows, batch.rejects)
        self._back()
        metrics.write_seconds.observe(self._clock() - began)
        metrics.batch_points.observe(batch.points)
        metrics.rows.inc(written.rows)
        metrics.duplicates.inc(written.duplicates)
        metrics.rejects.inc(written.rejects)
        if batch.rows:
            newest = max(row[2] for row in batch.rows)
            metrics.lag.set(max(0.0, time() - newest / 1000))

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


def read(delivery: Delivery, now_ms: int) -> tuple[list[Row], list[Reject]]:
    """What a delivery holds: rows, and what of it cannot be one."""
    try:
        message = decode(delivery.topic, delivery.payload)
    except DecodeError as error:
        return [], [Reject(delivery.topic, delivery.payload, str(error))]
    rows: list[Row] = []
    rejects = [Reject(fault.topic, delivery.payload, fault.reason) for fault in message.faults]
    for point in message.points:
        found = row(point, now_ms)
        if isinstance(found, str):
            rejects.append(Reject(point.topic, delivery.payload, found))
        else:
            rows.append(found)
    return rows, rejects
