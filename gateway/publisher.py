"""Readings to messages to PUBACK. While the broker is away readings wait in memory; when that is full the oldest go."""

import asyncio
from collections import deque
from functools import partial
from time import time

import msgspec

from gateway import metrics
from gateway.config import Configured
from nexus.contract import codec, topic
from nexus.contract.codec import Status
from nexus.contract.reading import Reading
from nexus.runtime import log, mqtt
from nexus.runtime.broker import Broker, Client
from nexus.runtime.reconnect import stay_connected


class _Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message that the broker has not acknowledged, and how many readings are in it."""

    topic: str
    payload: bytes
    readings: int


class Publisher:
    """Sends what pollers give it, and keeps each message until its PUBACK; at most `limit` readings wait."""

    def __init__(self, presence_topic: str, limit: int) -> None:
        self._presence_topic = presence_topic
        self._limit = limit
        self._scans: deque[tuple[Configured, list[Reading]]] = deque()
        self._waiting = 0
        self._unacknowledged: dict[int, _Outgoing] = {}
        self._number = 0
        self._statuses: dict[str, Status] = {}
        self._unsaid: set[str] = set()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._finishing = False
        self._refused: set[int] = set()
        self._log = log.get("publisher")
        self.connected = False

    def scan(self, configured: Configured, readings: list[Reading]) -> None:
        """Takes a device's scan. When the queue is full the oldest scans are dropped, and counted."""
        self._scans.append((configured, readings))
        self._waiting += len(readings)
        while self._waiting > self._limit and len(self._scans) > 1:
            metrics.dropped.inc(len(self._next()[1]))
        metrics.queued.set(self._waiting)
        self._wake.set()

    def status(self, path: str, status: Status) -> None:
        """Takes a device's new state; only the last one of each device is kept."""
        self._statuses[path] = status
        self._unsaid.add(path)
        self._wake.set()

    def finish(self) -> None:
        """No more will come: `run` returns when all is acknowledged."""
        self._finishing = True
        self._wake.set()

    @property
    def unsent(self) -> int:
        """Readings that the broker has not acknowledged."""
        return self._waiting + sum(message.readings for message in self._unacknowledged.values())

    async def run(self, broker: Broker, client: Client) -> None:
        """Publishes, over as many connections as it takes, until `finish` was called and all is acknowledged."""
        await stay_connected(broker, client, self._serve)

    async def _serve(self, connection: mqtt.Connection) -> None:
        self.connected = True
        metrics.connected.set(1)
        try:
            await self._announce(connection)
            for number in list(self._unacknowledged):
                await self._send(connection, number)
            await self._send_queued(connection)
            await self._wait_settled()
            await self._leave(connection)
        finally:
            self.connected = False
            metrics.connected.set(0)

    async def _announce(self, connection: mqtt.Connection) -> None:
        """Presence and all states, again on each connection: a broker may have lost what it retained."""
        here = codec.encode_status(Status("online", "", _now()))
        await connection.publish(self._presence_topic, here, retain=True)
        self._unsaid.update(self._statuses)

    async def _send_queued(self, connection: mqtt.Connection) -> None:
        """Sends what comes, until `finish` was called and nothing is left."""
        while True:
            await self._say_statuses(connection)
            while self._scans:
                for number in self._taken(*self._next()):
                    await self._send(connection, number)
            metrics.queued.set(self._waiting)
            if not self._unsaid:
                if self._finishing:
                    return
                self._wake.clear()
                await self._wake.wait()

    async def _say_statuses(self, connection: mqtt.Connection) -> None:
        while self._unsaid:
            path = self._unsaid.pop()
            try:
                payload = codec.encode_status(self._statuses[path])
                await connection.publish(topic.status(path), payload, retain=True)
            except BaseException:
                self._unsaid.add(path)
                raise

    def _next(self) -> tuple[Configured, list[Reading]]:
        scan = self._scans.popleft()
        self._waiting -= len(scan[1])
        return scan

    def _taken(self, configured: Configured, readings: list[Reading]) -> range:
        """Notes a scan's messages as unacknowledged, before any is sent; gives their numbers."""
        first = self._number
        for message in _messages(configured, readings):
            self._unacknowledged[self._number] = message
            self._number += 1
        return range(first, self._number)

    async def _send(self, connection: mqtt.Connection, number: int) -> None:
        message = self._unacknowledged[number]
        if len(message.payload) + len(message.topic) + 64 > connection.maximum_packet_size:
            self._refuse(number, mqtt.PACKET_TOO_LARGE)
            return
        acknowledged = await connection.publish(message.topic, message.payload)
        acknowledged.add_done_callback(partial(self._acknowledged, number))

    def _acknowledged(self, number: int, code: asyncio.Future[int]) -> None:
        if code.cancelled():
            return  # the connection was lost: it is sent again on the next one
        if code.result() >= 0x80:
            self._refuse(number, code.result())
            return
        metrics.published.inc()
        self._forget(number)

    def _refuse(self, number: int, code: int) -> None:
        """The broker will not take this message, now or later: keeping it would block those behind it."""
        reason = mqtt.reason(code)
        metrics.refused.labels(reason).inc()
        if code not in self._refused:
            self._refused.add(code)
            self._log.error("the broker refuses messages", reason=reason, topic=self._unacknowledged[number].topic)
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._unacknowledged.pop(number, None)
        if not self._unacknowledged:
            self._settled.set()

    async def _wait_settled(self) -> None:
        while self._unacknowledged:
            self._settled.clear()
            await self._settled.wait()

    async def _leave(self, connection: mqtt.Connection) -> None:
        """Says that nobody polls these devices now."""
        stopped = codec.encode_status(Status("offline", "the gateway was stopped", _now()))
        answers = [await connection.publish(topic.status(path), stopped, retain=True) for path in self._statuses]
        answers.append(await connection.publish(self._presence_topic, b"", retain=True))
        await asyncio.gather(*answers)


def _messages(configured: Configured, readings: list[Reading]) -> list[_Outgoing]:
    path, units = configured.device.path, configured.units
    if configured.publish == "device":
        time_ms = readings[0].time
        return [_Outgoing(topic.device(path), codec.encode_device(readings, time_ms, units), len(readings))]
    return [
        _Outgoing(topic.tag(path, reading.tag), codec.encode_tag(reading, units.get(reading.tag)), 1)
        for reading in readings
    ]


def _now() -> int:
    return int(time() * 1000)
