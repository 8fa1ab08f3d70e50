"""The shared subscription: messages in, acknowledgements out, and a clean farewell."""

import asyncio
from functools import partial

from ingestion import metrics
from ingestion.pipeline import Delivery, Pipeline
from nexus.contract.topic import shared_filter
from nexus.runtime.broker import Broker, Client
from nexus.runtime.mqtt import Connection, Message
from nexus.runtime.reconnect import stay_connected


class Consumer:
    """Feeds a pipeline from a persistent session, over as many connections as it takes."""

    def __init__(self, group: str, pipeline: Pipeline) -> None:
        self._filter = shared_filter(group)
        self._pipeline = pipeline
        self._stopping = asyncio.Event()
        self._quiet = asyncio.Event()
        self._committed = asyncio.Event()
        self._latest: Connection | None = None
        self.connected = False

    async def run(self, broker: Broker, client: Client) -> None:
        """Consumes until `stop` and `leave` were called."""
        await stay_connected(broker, client, self._serve, self._received)

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
            await connection.subscribe(self._filter)
            await self._stopping.wait()
            await connection.unsubscribe(self._filter)
            self._quiet.set()
            await self._committed.wait()
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
