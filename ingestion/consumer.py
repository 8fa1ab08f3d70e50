"""The shared subscription: messages in, acknowledgements and receipts out, and a clean farewell."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ingestion import metrics
from ingestion.pipeline import Delivery, Pipeline
from ingestion.receipts import Receipts
from nexus.runtime import guard
from nexus.runtime.broker import Broker, Client
from nexus.runtime.mqtt import Connection, Message
from nexus.runtime.reconnect import stay_connected
from nexus.runtime.run import together


class Consumer:
    """Feeds a pipeline from a persistent session, over as many connections as it takes."""

    def __init__(self, filters: Sequence[str], pipeline: Pipeline, receipts: Receipts) -> None:
        self._filters = filters
        self._pipeline = pipeline
        self._receipts = receipts
        self._stopping = asyncio.Event()
        self._quiet = asyncio.Event()
        self._committed = asyncio.Event()
        self._latest: Connection | None = None
        self.connected = False
        pipeline.on_room = self._resume

    async def run(self, broker: Broker, client: Client, before: Callable[[], Awaitable[None]]) -> None:
        """Consumes until `stop` and `leave` were called; `before` each connection makes sure that we may."""
        await stay_connected(broker, client, self._serve, self._received, before=before)

    async def stop(self) -> None:
        """Unsubscribes; when this returns nothing more comes. Without a connection nothing comes anyway."""
        self._stopping.set()
        if self.connected:
            await self._quiet.wait()

    def leave(self) -> None:
        """All is committed and acknowledged: ends the session, and the broker gives what it queued to the others."""
        self._committed.set()

    async def _serve(self, connection: Connection) -> None:
        self.connected = True
        metrics.connected.set(1)
        try:
            async with together() as group:
                telling = guard.part(group, self._receipts.run(connection), name="receipts")
                for one in self._filters:
                    await connection.subscribe(one)
                await self._stopping.wait()
                connection.resume()
                for one in self._filters:
                    await connection.unsubscribe(one)
                self._quiet.set()
                await self._committed.wait()
                telling.cancel()
            await self._receipts.send(connection)
            connection.ends_session = True
        finally:
            self.connected = False
            self._quiet.set()
            metrics.connected.set(0)

    def _received(self, connection: Connection, message: Message) -> None:
        if connection is not self._latest:
            self._latest = connection
            if connection.session_present:
                self._pipeline.forget_held()
        acknowledge = partial(connection.acknowledge, message.mid)
        self._pipeline.receive(Delivery(message.topic, message.payload, acknowledge))
        if self._pipeline.full and not self._stopping.is_set():
            connection.pause()

    def _resume(self) -> None:
        if self._latest is not None:
            self._latest.resume()
