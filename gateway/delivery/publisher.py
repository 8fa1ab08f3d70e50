"""Publishes readings live. What the broker does not acknowledge goes to the outbox."""

import asyncio
from collections import deque
from collections.abc import Sequence

from gateway import metrics
from gateway.delivery import stopping
from gateway.delivery.batch import Batch, of_scan
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox
from gateway.delivery.publish_options import PublishOptions
from nexus import mqtt
from nexus.contract.reading import Reading
from nexus.process import log

# Of these, the broker gets live what it takes in time; the rest goes through the spool.
QUEUED_READINGS = 20_000
RECEIPT_SECONDS = 3.0  # at a stop, for the last messages to be acknowledged
# A broker that ends so many connections in a row, so soon, objects to what we send, even if it does not say so.
ABRUPT_SECONDS, MOST_ABRUPT = 10.0, 3


class Publisher:
    """Sends readings over one connection after the other; without a connection they go to the outbox."""

    def __init__(self, outbox: Outbox, in_flight: InFlight, blocked: BlockedTopics, control: ControlTopics) -> None:
        self._outbox = outbox
        self._in_flight = in_flight
        self._blocked = blocked
        self._control = control
        self._denials = 0  # topics denied before this connection
        self._abrupt = 0  # connections in a row that the broker ended at once, without a reason
        self._queue: deque[Batch] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._roomy = asyncio.Event()
        self._finishing = False
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("publisher")
        self._connection: mqtt.Connection | None = None

    def scan(self, publish_options: PublishOptions, readings: Sequence[Reading]) -> None:
        """Publishes a device's scan: at once if the broker keeps up and nothing is queued."""
        for batch in of_scan(publish_options, readings):
            self._take(batch)

    def record(self, name: str, payload: bytes, *, retain: bool = False) -> Batch:
        """Publishes a JSON object that is no reading, under one number; it is kept and sent again like a reading.

        The broker retains it if it leaves live.
        """
        batch = Batch(name, payload, 1, retain=retain)
        self._take(batch)
        return batch

    def _take(self, batch: Batch) -> None:
        outbox, connection = self._outbox, self._connection
        outbox.put(batch)
        if connection is None or self._finishing or (self._blocked.blocks_any and self._blocked.blocks(batch.topic)):
            outbox.requeue(batch)
            return
        outbox.mark_sent(batch)
        if not self._queue and self._in_flight.send_at_once(connection, batch, batch.live(outbox.publisher)):
            return
        self._queue.append(batch)
        self._queued += batch.count
        while self._queued > QUEUED_READINGS and len(self._queue) > 1:
            outbox.requeue(self._next())
        self._wake.set()

    async def has_room(self) -> None:
        """Waits until a scan would be sent at once; without a connection, for one."""
        while self._connection is None or self._queue or self._connection.send_quota < self._connection.window // 2:
            self._roomy.clear()
            if self._connection is not None and not self._queue:
                await self._connection.has_quota(self._connection.window // 2)
                await asyncio.sleep(0)  # nobody waits for a lost connection
            else:
                await self._roomy.wait()

    def finish(self) -> None:
        """Nothing more will come: `serve` returns when all is acknowledged. From now on the disk gets what is not."""
        self._finishing = True
        for batch in (*self._in_flight.batches, *self._queue):
            self._outbox.keep(batch)
        self._wake.set()

    async def serve(self, connection: mqtt.Connection) -> None:
        """Publishes on a connection until `finish` was called and all is acknowledged, or the connection is lost."""
        self._in_flight.requeue_all()  # left over when the publisher finished
        self._connection, began, self._denials = connection, self._clock(), self._blocked.denials
        self._roomy.set()
        try:
            await self._send_queued(connection)
            await self._in_flight.drained()
            await stopping.sent_from_memory(self._outbox)
            await stopping.receipts(self._outbox, RECEIPT_SECONDS)
        finally:
            self._connection = None
            self._suspect(connection.lost, self._clock() - began)
            self._requeue_all()

    def _suspect(self, lost: str | None, lasted: float) -> None:
        """If the broker disconnected us over a topic, the suspects are tried one by one."""
        under_way = [batch.topic for batch in self._in_flight.batches]
        is_explained = self._control.refused_any or self._blocked.denials > self._denials
        is_abrupt = lasted < ABRUPT_SECONDS and bool(under_way or self._control.has_unanswered) and not is_explained
        self._abrupt = self._abrupt + 1 if lost is not None and is_abrupt else 0
        now = self._clock()
        if not mqtt.blames_a_message(lost) and self._abrupt < MOST_ABRUPT:
            self._control.connection_lost(now)
            return
        guilty = self._blocked.suspect(under_way, now)
        for topic in self._control.disconnected(now, excused=guilty is not None):
            self._log.error("the broker disconnects us over a control topic: skipped for now", topic=topic)
        if guilty is not None:
            self._log.error("the broker disconnects us over a topic: its readings wait", topic=guilty)

    def _requeue_all(self) -> None:
        self._in_flight.requeue_all()
        while self._queue:
            self._outbox.requeue(self._next())
        metrics.queued.set(0)

    async def _send_queued(self, connection: mqtt.Connection) -> None:
        """Sends what is queued, until `finish` was called and the queue is empty."""
        while True:
            while self._queue:
                batch = self._next()
                await self._in_flight.send(connection, batch, batch.live(self._outbox.publisher))
            self._roomy.set()
            metrics.queued.set(self._queued)
            if self._finishing:
                return
            self._wake.clear()
            await self._wake.wait()

    def _next(self) -> Batch:
        batch = self._queue.popleft()
        self._queued -= batch.count
        return batch
