"""Readings to messages to PUBACK. What the broker does not acknowledge goes to the backlog."""

import asyncio
from collections import deque
from functools import partial

from gateway import metrics
from gateway.delivery.answers import Answers, Verdict
from gateway.delivery.aside import Aside
from gateway.delivery.backlog import Backlog
from gateway.delivery.entry import READINGS_A_MESSAGE
from gateway.delivery.message import Outlet, Record, Scan, live
from gateway.delivery.words import Words
from nexus import mqtt
from nexus.contract.reading import Reading
from nexus.process import log

# Of these, the broker gets live what it takes in time; the rest goes by way of the disk.
QUEUED_READINGS = 20_000
PUBACK_SECONDS = 30.0  # a broker that acknowledges nothing for so long is no broker: connect again
RECEIPT_SECONDS = 3.0  # what was sent last has so long at a stop
# A broker that ends so many connections in a row so soon does it over what we send, even if it does not say so.
ABRUPT_SECONDS, MOST_ABRUPT = 10.0, 3


_OVERHEAD = 128  # bytes of a packet beside topic and payload; a publisher's name and numbers are among them


def room(connection: mqtt.Connection) -> int:
    """How many bytes topic and payload, without numbers, may have. What is larger would end the connection."""
    return connection.maximum_packet_size - _OVERHEAD


class _Flight:
    """A scan that is with the broker: of its messages `left` are unanswered, `taken` acknowledged, `lost` refused."""

    __slots__ = ("at", "left", "lost", "number", "scan", "taken", "unsettled")

    def __init__(self, number: int, scan: Scan, at: float, messages: int) -> None:
        self.number = number
        self.scan = scan
        self.at = at
        self.left = messages
        self.taken = self.lost = 0
        self.unsettled = False  # denied, too large, or nobody got it


class Publisher:
    """Sends what pollers give it over one connection after the other; between them all goes to the backlog."""

    def __init__(self, backlog: Backlog, aside: Aside, words: Words) -> None:
        self._backlog = backlog
        self._aside = aside
        self._words = words
        self._denials = 0  # of topics, before this connection
        self._abrupt = 0  # connections in a row that the broker ended at once, without a word
        self._queue: deque[Scan] = deque()
        self._queued = 0
        self._flying: dict[int, _Flight] = {}
        self._number = 0
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._roomy = asyncio.Event()
        self._finishing = False
        self._clock = asyncio.get_running_loop().time
        self._answers = Answers(backlog, aside)
        self._log = log.get("publisher")
        self._connection: mqtt.Connection | None = None

    def scan(self, outlet: Outlet, readings: list[Reading]) -> None:
        """Takes a device's scan: it leaves at once if the broker keeps up, and none is before it."""
        self._take(self._backlog.scan(outlet, readings))

    def _take(self, scan: Scan) -> None:
        if self._connection is None or self._finishing or (self._aside.holds_any and self._aside.holds(scan.topic)):
            self._backlog.stays(scan)
            return
        self._backlog.leaves(scan)
        if not self._queue:
            messages = list(live(scan, self._backlog.publisher))
            if len(messages) <= self._connection.room:
                self._send(self._connection, self._flown(scan, len(messages)), messages)
                return
        self._queue.append(scan)
        self._queued += scan.count
        while self._queued > QUEUED_READINGS and len(self._queue) > 1:
            self._backlog.stays(self._next())
        self._wake.set()

    def record(self, name: str, payload: bytes) -> None:
        """Takes a message of one number that is no reading: a JSON object, kept and sent again like a reading."""
        self._take(self._backlog.record(Record(name, payload)))

    async def has_room(self) -> None:
        """Waits until a scan would leave at once; where there is no connection, for one."""
        while self._connection is None or self._queue or self._connection.room < self._connection.window // 2:
            self._roomy.clear()
            if self._connection is not None and not self._queue:
                await self._connection.has_room(self._connection.window // 2)
                await asyncio.sleep(0)  # a connection that is lost lets nobody wait
            else:
                await self._roomy.wait()

    def finish(self) -> None:
        """No more will come: `serve` returns when all is acknowledged. The disk is to have what is not, from now on."""
        self._finishing = True
        for scan in (*(flight.scan for flight in self._flying.values()), *self._queue):
            self._backlog.keeps(scan)
        self._wake.set()

    async def serve(self, connection: mqtt.Connection) -> None:
        """Publishes on a connection until `finish` was called and all is acknowledged, or the connection is lost."""
        self._connection, began, self._denials = connection, self._clock(), self._aside.denials
        self._roomy.set()
        try:
            await self._send_queued(connection)
            while self._flying:
                self._landed.clear()
                await self._landed.wait()
            await self._backlog.sent_from_memory()
            await self._backlog.receipts(RECEIPT_SECONDS)
        finally:
            self._connection = None
            self._suspect(connection.lost, self._clock() - began)
            self._put_back()

    @property
    def silence(self) -> str | None:
        """What is wrong with the broker's acknowledgements; None while they come."""
        since = self._backlog.silent_since
        return f"the broker's acknowledgements, for {self._clock() - since:.0f} s" if since is not None else None

    async def watch(self) -> None:
        """Raises MqttError when the oldest message has waited too long for its PUBACK."""
        while True:
            oldest = next(iter(self._flying.values()), None)
            waited = self._clock() - oldest.at if oldest is not None else 0.0
            if oldest is not None and waited >= PUBACK_SECONDS:
                self._backlog.silent_since = self._backlog.silent_since or oldest.at
                raise mqtt.MqttError(f"no PUBACK for {waited:.0f} s")
            await asyncio.sleep(PUBACK_SECONDS - waited)

    def _suspect(self, lost: str | None, lasted: float) -> None:
        """If the broker ended the connection over a topic, which one it was is found out one by one."""
        under_way = [*(flight.scan.topic for flight in self._flying.values()), *self._aside.sending]
        is_explained = self._words.refused_any or self._aside.denials > self._denials
        is_abrupt = lasted < ABRUPT_SECONDS and bool(under_way or self._words.any_out) and not is_explained
        self._abrupt = self._abrupt + 1 if lost is not None and is_abrupt else 0
        now = self._clock()
        if not mqtt.blames_a_message(lost) and self._abrupt < MOST_ABRUPT:
            self._words.lost(now)
            return
        guilty = self._aside.disconnected(under_way, now)
        for topic in self._words.hung_up(now, excused=guilty is not None):
            self._log.error("the broker disconnects us over what we say of ourselves: it is left out", topic=topic)
        if guilty is not None:
            self._log.error("the broker disconnects us over a topic: its readings wait", topic=guilty)

    def _put_back(self) -> None:
        """What was under way may have arrived or not: it is sent again, and the historian knows it when it sees it."""
        for flight in self._flying.values():
            self._answers.taken(flight.taken)
            self._backlog.stays(flight.scan)
        self._flying.clear()
        while self._queue:
            self._backlog.stays(self._next())
        metrics.queued.set(0)

    async def _send_queued(self, connection: mqtt.Connection) -> None:
        """Sends what comes, until `finish` was called and nothing is left."""
        while True:
            while self._queue:
                await self._send_slowly(connection, self._next())
            self._roomy.set()
            metrics.queued.set(self._queued)
            if self._finishing:
                return
            self._wake.clear()
            await self._wake.wait()

    def _next(self) -> Scan:
        scan = self._queue.popleft()
        self._queued -= scan.count
        return scan

    async def _send_slowly(self, connection: mqtt.Connection, scan: Scan) -> None:
        """Sends a scan's messages as the broker makes room."""
        messages = list(live(scan, self._backlog.publisher))
        flight = self._flown(scan, len(messages))
        while messages:
            await connection.has_room()
            some = max(1, connection.room)
            self._send(connection, flight, messages[:some])
            del messages[:some]

    def _flown(self, scan: Scan, messages: int) -> _Flight:
        """A scan is noted as under way before its first message leaves."""
        flight = self._flying[self._number] = _Flight(self._number, scan, self._clock(), messages)
        self._number += 1
        return flight

    def _send(self, connection: mqtt.Connection, flight: _Flight, messages: list[tuple[str, bytes]]) -> None:
        """Sends what there is room for. If the connection is lost, `_put_back` has the whole scan."""
        largest = room(connection)
        done = partial(self._settle, flight)
        for name, payload in messages:
            if len(payload) + len(name) > largest:
                flight.unsettled = True  # the disk gives it in parts
                self._answered(flight)
            else:
                connection.send(name, payload, done)

    def _settle(self, flight: _Flight, code: int) -> None:
        """The broker has a message, or refuses it."""
        answer = Verdict.TAKEN if code == 0 else self._answers.take(flight.scan.topic, code)
        if answer is Verdict.TAKEN:
            flight.taken += 1
        elif answer is Verdict.REFUSED:
            flight.lost += 1
        else:
            flight.unsettled = True
        self._answered(flight)

    def _answered(self, flight: _Flight) -> None:
        flight.left -= 1
        if not flight.left:
            self._land(flight)

    def _land(self, flight: _Flight) -> None:
        """All messages of a scan are answered."""
        self._backlog.silent_since = None
        self._answers.taken(flight.taken)
        self._flying.pop(flight.number, None)
        if flight.unsettled:
            self._backlog.stays(flight.scan)
        else:
            self._note_lost(flight)
            self._backlog.acknowledged(flight.scan)
        if not self._flying:
            self._landed.set()

    def _note_lost(self, flight: _Flight) -> None:
        """What is on its way to the disk is refused there once more, and counted there."""
        if flight.lost and not flight.scan.kept:
            readings = flight.lost if flight.scan.outlet.publish == "tag" else flight.lost * READINGS_A_MESSAGE
            self._answers.lost(min(readings, flight.scan.count))
