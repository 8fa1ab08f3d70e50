"""Replays the outbox: sends what never left, and what has to be sent again, beside the live readings."""

import asyncio
from collections import deque

from gateway import metrics
from gateway.delivery.acknowledgements import Verdict
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.housekeeping import RETRY_SECONDS
from gateway.delivery.in_flight import Flight, InFlight, largest
from gateway.delivery.outbox import Outbox
from gateway.delivery.retransmit_queue import SILENCE_SECONDS, TOLERANCE_SECONDS
from gateway.delivery.spool import SpoolError
from gateway.delivery.spool_gauges import SpoolGauges
from nexus import mqtt
from nexus.process import log, supervisor
from nexus.process.run import task_group

MESSAGES_AT_ONCE = 20  # of the connection's window, if the link carries it in ROUND_SECONDS
ROUND_SECONDS = 0.3  # how long live readings may have to wait
SHARE = 0.3  # of the time; the rest is for live readings
# Readings that may be on their way from the disk to the database, so that no broker has to hold what we hold; fewer
# while there are no receipts.
MOST_UNDER_WAY = 200_000
MOST_IN_SILENCE = 50_000
# In parts for smaller packets, what is on disk would need several times the room, and the oldest would go.
SMALLEST_PACKET = 512
UNHEARD_SECONDS = 30.0  # how often topics without subscribers are tried again
_UNHEARD_PAUSE = 0.5
_LOOK_SECONDS = 1.0


class Replay:
    """Empties an outbox over one connection, oldest first, with no more than its share of the send quota."""

    def __init__(
        self,
        outbox: Outbox,
        in_flight: InFlight,
        gauges: SpoolGauges,
        connection: mqtt.Connection,
        *,
        blocked: BlockedTopics,
        control: ControlTopics,
    ) -> None:
        self._outbox = outbox
        self._in_flight, self._gauges = in_flight, gauges
        self._control = control
        self._connection = connection
        self._blocked = blocked
        self._clock = asyncio.get_running_loop().time
        self._under_way: deque[tuple[float, Batch]] = deque()
        self._readings = 0
        self._after = 0  # while topics are blocked: where to continue looking
        self._from_start_at = 0.0
        self._was_offered = False
        self._at_once = 1  # grows with the link
        self._refused: set[str] = set()  # reasons that were logged already
        self._room = largest(connection)
        self._largest: int | None = None  # set once a single reading was larger

    async def run(self) -> None:
        """Sends for as long as the connection lasts. Raises MqttError when the broker acknowledges nothing."""
        async with task_group(mqtt.MqttError) as group:
            supervisor.part(group, self._in_flight.watch(), name="puback-watch")
            await self._run()

    async def _run(self) -> None:
        self._blocked.may_have_subscribers()
        await self._outbox.opened.wait()
        if (most := self._connection.maximum_packet_size) < SMALLEST_PACKET:
            log.get("publisher").error("the broker's maximum packet size is too small: readings wait", bytes=most)
            await asyncio.Event().wait()
        while True:
            try:
                pause = await self._step()
            except SpoolError as error:
                metrics.spool_failures.inc()
                if str(error) not in self._refused:
                    self._refused.add(str(error))
                    log.get("spool").error("the spool cannot be read, or a message in it split", reason=str(error))
                pause = RETRY_SECONDS
            if pause is None:
                self._gauges.idle()
                await self._outbox.changed(_LOOK_SECONDS)
            else:
                await asyncio.sleep(pause)

    async def _step(self) -> float | None:
        """Sends what is due; returns how long to wait before the next step, or None to wait for an event."""
        began = self._clock()
        self._look_anew(began)
        topic = None if self._control.is_presence_in_doubt(began) else self._blocked.trial(began)
        if topic is not None and await self._try(topic):
            return 0.0
        batches = await self._due() if self._has_room() else []
        if not batches:
            return None
        flights = await self._send(batches)
        await self._follow(flights)
        if all(flight.held in (Verdict.NO_SUBSCRIBERS, Verdict.DENIED) for flight in flights):
            return _UNHEARD_PAUSE
        sent = sum(flight.batch.count for flight in flights if flight.held is None)
        if not sent:
            return 0.0
        elapsed = self._clock() - began
        pause = elapsed * (1 - SHARE) / SHARE
        self._gauges.sent(sent, elapsed + pause)
        return pause

    def _pace(self, seconds: float) -> None:
        """On a slow link the next round is smaller, so that little stands before what is live.

        The `seconds` from the first acknowledgement of a round to its last: a long way there and back is none of them.
        """
        if seconds > ROUND_SECONDS:
            self._at_once = max(1, self._at_once // 2)
        elif seconds < ROUND_SECONDS / 2:
            self._at_once = min(MESSAGES_AT_ONCE, self._at_once * 2)

    def _look_anew(self, now: float) -> None:
        """From time to time, and when an ingester appears, what had no subscribers is due again, from the oldest on."""
        came = self._outbox.offered and not self._was_offered
        self._was_offered = self._outbox.offered
        if came or now - self._from_start_at > UNHEARD_SECONDS:
            self._from_start_at, self._after = now, 0
            self._blocked.may_have_subscribers()

    async def _due(self) -> list[Batch]:
        """From the disk; then, while it refuses writes, from memory, which it must not hold up."""
        try:
            batches = await self._due_on_disk()
        except SpoolError:
            if not (batches := self._due_in_memory()):
                raise
        return batches or self._due_in_memory()

    def _due_in_memory(self) -> list[Batch]:
        return self._outbox.due_in_memory(self._at_once, self._blocked.topics, self._room)

    async def _due_on_disk(self) -> list[Batch]:
        if not (blocked := self._blocked.topics) and self._largest is None:
            self._after = 0
            return await self._outbox.due(self._at_once)
        batches = await self._outbox.due(self._at_once, self._after, blocked, self._largest)
        if batches:
            self._after = batches[0].first
        return batches

    async def _divide(self, batch: Batch) -> None:
        """Replaces a batch on disk that is too large by its halves. A single reading waits there."""
        halves = batch.halved()
        if halves or batch.count > 1:
            await self._outbox.spool.divide(batch, halves)
        if not halves and batch.count > 1:
            self._in_flight.malformed(batch)
        for one in halves or [batch]:
            if one.count == 1 and one.length > self._room:
                self._largest = self._room
                self._in_flight.too_large(one, self._room)

    async def _try(self, topic: str) -> bool:
        """Sends one message of a suspected topic alone: if the broker disconnects us now, this topic is the cause."""
        batch = await self._outbox.spool.first_of(topic, self._largest)
        if batch is None:
            self._blocked.skip_trial(topic, self._clock())
            return False
        [flight] = await self._send([batch])
        if flight.held is not Verdict.TOO_LARGE:
            self._blocked.finish_trial(topic, taken=flight.held is not Verdict.DENIED, now=self._clock())
            self._after = 0
        await self._follow([flight])
        return True

    def _has_room(self) -> bool:
        """Whether more may be in flight. What has had no receipt for too long is not in flight any more."""
        heard = self._outbox.receipt_within(2 * SILENCE_SECONDS)
        patience = TOLERANCE_SECONDS if heard else SILENCE_SECONDS
        while self._under_way:
            at, batch = self._under_way[0]
            if not self._outbox.is_done(batch) and self._clock() - at < patience:
                break
            self._under_way.popleft()
            self._readings -= batch.count
        return self._readings < (MOST_UNDER_WAY if heard else MOST_IN_SILENCE)

    async def _send(self, batches: list[Batch]) -> list[Flight]:
        """Sends batches, and waits until each is acknowledged."""
        outbox, publisher = self._outbox, self._outbox.publisher
        flights = []
        for batch in batches:
            outbox.mark_sent(batch)
            flights.append(await self._in_flight.send(self._connection, batch, batch.whole(publisher)))
        first: float | None = None
        for flight in flights:
            assert flight.answered is not None
            await flight.answered
            first = first or self._clock()
        self._pace(self._clock() - (first or 0.0))
        return flights

    async def _follow(self, flights: list[Flight]) -> None:
        """Does what the acknowledgements ask for: halves, another topic, a receipt, or room on the disk."""
        wants_receipts, is_done = self._outbox.publisher is not None, False
        for flight in flights:
            batch = flight.batch
            if flight.held is Verdict.TOO_LARGE:
                await self._divide(batch)
            elif flight.held is Verdict.NO_SUBSCRIBERS:
                self._blocked.no_subscribers(batch.topic)
            elif flight.taken and wants_receipts:
                self._under_way.append((self._clock(), batch))
                self._readings += batch.count
            elif flight.held is None:
                is_done = True
        if is_done:
            try:
                await self._outbox.flush()
            except SpoolError:  # a full disk may refuse even deletions: then a restart sends the batch again
                metrics.spool_failures.inc()
