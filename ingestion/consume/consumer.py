"""The shared subscription: messages in, acknowledgements and receipts out, and a clean disconnect."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ingestion import metrics
from ingestion.consume.batch import Acknowledge, Delivery
from ingestion.consume.pipeline import Pipeline
from ingestion.consume.receipts import Receipts
from nexus.mqtt import Broker, Client, Connection, Message, MqttError, SubscriptionError, stay_connected
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group

LOST_AT_MOST = 2  # some brokers disconnect over a filter that they do not allow; it is then left out


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
        self._acknowledge: Acknowledge = lambda *_: None  # of the latest connection
        self._session = 0  # the broker's session number: it sends again what came since that session began
        self._lost_at: dict[str, int] = {}  # by filter, how often subscribing to it lost the connection
        self._said: set[str] = set()
        self._log = log.get("consumer")
        self.connected = False
        self.subscribed = False  # only from then on does the broker keep messages for us
        self.away = "not connected yet"  # why there is no connection

    async def run(self, broker: Broker, client: Client, before: Callable[[], Awaitable[None]]) -> None:
        """Consumes until `stop` and `leave` were called; `before` each connection checks that we may connect."""
        await stay_connected(broker, client, self._serve, self._received, before=before, on_away=self._note_away)

    def _note_away(self, reason: str) -> None:
        self.away = reason

    async def stop(self) -> None:
        """Unsubscribes; nothing arrives after this returns."""
        self._stopping.set()
        if self.connected:
            await self._quiet.wait()

    def leave(self) -> None:
        """Ends the session, once everything is acknowledged: the broker gives what is queued to the other ingesters."""
        self._committed.set()

    async def _serve(self, connection: Connection) -> None:
        self._begin(connection)
        self.connected = True
        metrics.connected.set(1)
        try:
            async with task_group(MqttError) as group:
                telling = supervisor.part(group, self._receipts.run(connection), name="receipts")
                subscribed = await self._subscribe(connection)
                self.subscribed = True
                await self._stopping.wait()
                connection.resume()
                for one in subscribed:
                    await connection.unsubscribe(one)
                self._quiet.set()
                await self._committed.wait()
                telling.cancel()
            await self._receipts.send(connection)
            connection.end_session()
        finally:
            self.connected = self.subscribed = False
            self._quiet.set()
            metrics.connected.set(0)

    async def _subscribe(self, connection: Connection) -> list[str]:
        """Subscribes to the readings, and to everything else that the broker allows; returns the granted filters."""
        first, *others = self._filters
        await connection.subscribe(first)
        subscribed = [first]
        for one in others:
            if self._lost_at.get(one, 0) >= LOST_AT_MOST:
                continue
            try:
                await connection.subscribe(one)
                subscribed.append(one)
            except SubscriptionError as error:
                self._say(one, str(error))
            except MqttError as error:
                self._lost_at[one] = self._lost_at.get(one, 0) + 1
                if self._lost_at[one] == LOST_AT_MOST:
                    self._say(one, f"the broker disconnects us over {one}: {error}")
                raise
            else:
                self._lost_at.pop(one, None)
        metrics.subscriptions_refused.set(len(self._filters) - len(subscribed))
        return subscribed

    def _say(self, one: str, reason: str) -> None:
        if one not in self._said:
            self._said.add(one)
            self._log.error("the broker refuses a subscription, the rest works: check its ACL", reason=reason)

    def _received(self, connection: Connection, message: Message) -> None:
        self._begin(connection)
        topic, payload, packet_id = message.topic, message.payload, message.packet_id
        self._pipeline.receive(Delivery(topic, payload, packet_id, self._acknowledge, now_ms(), self._session))
        if self._pipeline.full and not self._stopping.is_set():
            connection.pause()
            self._pipeline.when_room(self._resume)

    def _begin(self, connection: Connection) -> None:
        """Prepares for a new connection, before its first message."""
        if connection is self._latest:
            return
        self._latest, self._acknowledge = connection, connection.acknowledge
        if connection.session_present:
            self._pipeline.forget_undecoded(self._session)
        else:
            self._session += 1

    def _resume(self) -> None:
        if self._latest is not None:
            self._latest.resume()
