"""Batches that were sent and are not acknowledged; both live and replayed batches are sent here."""

import asyncio
from functools import partial

import msgspec

from gateway import metrics
from gateway.delivery.acknowledgements import Acknowledgements, Verdict
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.outbox import Outbox
from nexus import mqtt

PUBACK_SECONDS = 30.0  # if the broker acknowledges nothing for so long, connect again
LONGEST_SECONDS = 300.0  # for one batch, on a slow link
_OVERHEAD = 128  # bytes of a packet beside topic and payload; a publisher's name and numbers are among them

Messages = list[tuple[str, bytes]]


def largest(connection: mqtt.Connection) -> int:
    """The most bytes that topic and payload, without numbers, may have: a larger packet would end the connection."""
    return connection.maximum_packet_size - _OVERHEAD


class Flight(msgspec.Struct):
    """A batch with the broker: of its messages `left` are unanswered, `taken` accepted, `refused` for good."""

    number: int
    batch: Batch
    at: float
    left: int
    is_whole: bool  # sent in the form that is on disk
    taken: int = 0
    refused: int = 0
    held: Verdict | None = None  # why it has to be sent again
    answered: asyncio.Future[None] | None = None  # set when all is answered


class InFlight:
    """Sends batches over one connection after the other, and settles each when its messages are acknowledged.

    What is too large, denied, or without subscribers is requeued; what is refused for good is dropped; the rest is
    confirmed. A broker that acknowledges nothing for PUBACK_SECONDS is given up.
    """

    def __init__(self, outbox: Outbox, blocked: BlockedTopics) -> None:
        self._outbox = outbox
        self._answers = Acknowledgements(outbox.wanted, blocked)
        self._flights: dict[int, Flight] = {}
        self._number = 0
        self._progress = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._silent_since: float | None = None
        self._answered_at = float("-inf")

    def connected(self) -> None:
        """Called on each connection."""
        self._answers.connected()

    @property
    def batches(self) -> list[Batch]:
        """The batches that are not acknowledged."""
        return [flight.batch for flight in self._flights.values()]

    @property
    def silent_for(self) -> float | None:
        """For how many seconds the broker has acknowledged nothing; None while that is not too long."""
        return self._clock() - self._silent_since if self._silent_since is not None else None

    def send_at_once(self, connection: mqtt.Connection, batch: Batch, messages: Messages) -> bool:
        """Sends a batch if the send quota allows all of it; tells whether it did. Raises MqttError."""
        if len(messages) > connection.send_quota:
            return False
        self._send(connection, self._begin(batch, messages), messages)
        return True

    async def send(self, connection: mqtt.Connection, batch: Batch, messages: Messages) -> Flight:
        """Sends a batch as the send quota allows; its `answered` is set once all is acknowledged. Raises MqttError."""
        flight = self._begin(batch, messages)
        flight.answered = asyncio.get_running_loop().create_future()
        while messages:
            await connection.has_quota()
            some = max(1, connection.send_quota)
            self._send(connection, flight, messages[:some])
            messages = messages[some:]
        return flight

    async def drained(self) -> None:
        """Waits until all that is in flight now is acknowledged."""
        upto = self._number
        while self._flights and next(iter(self._flights)) < upto:
            self._progress.clear()
            await self._progress.wait()

    async def watch(self) -> None:
        """Raises MqttError when the broker acknowledges nothing, or does not come to the oldest batch."""
        while True:
            oldest, now = next(iter(self._flights.values()), None), self._clock()
            began = oldest.at if oldest is not None else now
            silent = now - max(began, self._answered_at)
            if silent >= PUBACK_SECONDS or now - began >= LONGEST_SECONDS:
                self._silent_since = self._silent_since or began
                raise mqtt.MqttError(f"no PUBACK for {now - began:.0f} s")
            await asyncio.sleep(min(PUBACK_SECONDS - silent, LONGEST_SECONDS - (now - began)))

    def requeue_all(self) -> None:
        """The connection is lost. What was in flight may have arrived: it is sent again, and stored once."""
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            self._answers.taken(flight.taken)
            self._outbox.requeue(flight.batch)

    def too_large(self, batch: Batch, largest: int) -> None:
        """A single reading waits on the disk for a broker that takes more, or for the spool's limits."""
        said = "a single reading exceeds the broker's maximum packet size: it waits on disk"
        reason = mqtt.reason(mqtt.PACKET_TOO_LARGE)
        self._answers.refuse(batch.topic, reason, said, bytes=batch.length, largest=largest)

    def malformed(self, batch: Batch) -> None:
        """A batch that is too large and cannot be divided is dropped."""
        self._answers.refuse(batch.topic, "Malformed Packet")
        self._outbox.spool.drops.add("refused", batch)

    def _begin(self, batch: Batch, messages: Messages) -> Flight:
        """Notes a batch as in flight, before its first message is sent."""
        is_whole = messages[0][0] == batch.topic
        flight = Flight(self._number, batch, self._clock(), len(messages), is_whole)
        self._flights[self._number] = flight
        self._number += 1
        return flight

    def _send(self, connection: mqtt.Connection, flight: Flight, messages: Messages) -> None:
        """Sends messages that the quota allows."""
        if flight.batch.retain:
            connection.send_many(messages, partial(self._settle, flight), retain=True)
        else:
            connection.send_many(messages, partial(self._settle, flight))

    def _settle(self, flight: Flight, code: int, messages: int) -> None:
        """The broker accepts so many messages, or refuses them; or they are larger than it takes."""
        verdict = self._answers.take(flight.batch.topic, code, messages)
        if verdict is not Verdict.TOO_LARGE:
            self._answered_at = self._clock()
        if verdict is Verdict.TAKEN:
            flight.taken += messages
        elif verdict is Verdict.REFUSED:
            flight.refused += messages
        else:
            flight.held = verdict
        flight.left -= messages
        if not flight.left and self._flights.pop(flight.number, None) is not None:
            self._finish(flight)

    def _finish(self, flight: Flight) -> None:
        """All messages of a batch are answered."""
        batch = flight.batch
        if flight.held is not Verdict.TOO_LARGE:
            self._silent_since = None
        self._answers.taken(flight.taken)
        if flight.held is not None or (flight.refused and batch.kept and not flight.is_whole):
            self._outbox.requeue(batch)
        elif flight.refused:  # refused as tag messages; the device message on disk may be accepted
            if not flight.taken:
                self._outbox.spool.drops.add("refused", batch)
            else:
                metrics.dropped.labels("refused").inc(flight.refused)
            self._outbox.forget(batch)
        else:
            self._outbox.confirm(batch)
        self._progress.set()
        if flight.answered is not None and not flight.answered.done():
            flight.answered.set_result(None)
