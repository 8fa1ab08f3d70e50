"""The plant as the broker shows it: devices, gateways, values that are watched, and requests to gateways."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from console.database import Database
from console.live import epoch, frames
from console.live.alarms import Alarms
from console.live.device_rows import DeviceRows
from console.live.devices import GatewayRow, device_state, gateway_row
from console.live.hub import Hub
from console.live.inlet import Inlet
from console.live.last_known import LastKnown
from console.live.numbered import Given
from console.live.requests import Requests
from console.live.retained import Retained
from console.live.standing_in import standing_in
from console.live.subscriptions import Subscriptions
from console.live.values import Values
from console.problems import Problem
from nexus import mqtt
from nexus.contract import codec
from nexus.contract import topic as topics
from nexus.contract.codec import DecodeError
from nexus.contract.description import Description, TagDescription
from nexus.mqtt import Broker, Client, Connection, Message, SubscriptionError
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group

LONGEST_PAUSE = 10.0  # between attempts to connect: people wait
_SWEEP_SECONDS = 10.0  # after which a broker has said all that it retains
_LOOK_SECONDS = 1.0
_NOT_YET = "not connected yet"

_encode = msgspec.json.Encoder().encode


class Plant:
    """One connection to the broker, and all that comes by it.

    `away` says why there is none, and `away_since` from when on, in epoch ms.
    """

    def __init__(self, broker: Broker, database: Database) -> None:
        name = f"console-{secrets.token_hex(6)}"
        self._broker = broker
        self._client = Client(name)
        self._connection: Connection | None = None
        self._retained = Retained()
        self.alarms = Alarms()
        self._values = Values()
        self._subscriptions = Subscriptions()
        self._last_known = LastKnown(database, self._values)
        self._requests = Requests(name)
        self._inlet = Inlet()
        self.away_since: int | None = None
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("plant")
        self.away: str | None = _NOT_YET
        self.hears_alarms = False  # the broker may refuse them
        self.rows = DeviceRows(self._retained, self._row)
        self.hub = Hub(self._values, self._subscriptions, self._last_known, self.rows, self.alarms)

    # What routes ask.

    @property
    def is_full(self) -> bool:
        """Whether there are more devices than are kept here."""
        return self._retained.is_full

    def gateways(self) -> list[GatewayRow]:
        """All gateways, by group and name."""
        return [gateway_row(member, one) for member, one in sorted(self._retained.gateways.items())]

    def describe(self, path: str) -> Description | None:
        """What the gateway that polls the device says that it is."""
        return self._retained.descriptions.get(path)

    def is_known(self, path: str) -> bool:
        """Whether a gateway has the device, as far as we know."""
        return path in self._retained.descriptions or self._retained.status(path) is not None

    def unread(self) -> set[str]:
        """The devices that nobody reads now: what they sent last is no longer so."""
        paths = self._retained.paths
        states = {path: device_state(self._retained, path, self.away).state for path in paths}
        return {path for path, state in states.items() if state in ("offline", "unknown")}

    def taken(self, topics: Sequence[str]) -> list[str]:
        """Those on which only gateways speak: at, above or below a device that is polled, or a tag."""
        return standing_in(topics, self._retained.paths, self._retained.tags)

    def tags(self) -> Mapping[str, TagDescription]:
        """All described tags, by topic."""
        return self._retained.tags

    async def request(self, topic: str, payload: bytes, timeout: float) -> bytes:
        """A gateway's answer. Raises Problem 503 while the broker is away, 504 when nobody answers."""
        return await self._requests.ask(self._connected(), topic, payload, timeout)

    async def publish(self, topic: str, payload: bytes) -> int:
        """The broker's reason code for a message with QoS 1. Raises mqtt.MqttError while the broker is away."""
        if self._connection is None:
            raise mqtt.MqttError(self.away or _NOT_YET)
        return await (await self._connection.publish(topic, payload))

    async def store(self, given: Sequence[Given]) -> None:
        """Returns when the readings are in the database. Raises Problem 503 when that is not known in time."""
        await self._inlet.store(self._connected(), given)

    def _connected(self) -> Connection:
        if self._connection is None:
            said = f"nothing was sent, try again when it is back: {self.away}"
            raise Problem(503, "The broker is away", said, kind="broker-away")
        return self._connection

    def gap(self) -> bytes | None:
        """What a WebSocket is told while the broker is away."""
        if (since := self.away_since) is None:
            return None
        return frames.gap(epoch.text(since), None, f"the broker is away: {self.away}")

    # What keeps it going.

    async def run(self) -> None:
        """Stays connected, and serves the WebSockets, until cancelled."""
        connected = partial(
            mqtt.stay_connected,
            self._broker,
            self._client,
            self._serve,
            self._take,
            on_away=self._lost,
            longest_pause=LONGEST_PAUSE,
        )
        async with task_group() as group:
            supervisor.keep(group, "peer", connected, name="broker")
            supervisor.keep(group, "timer", self.hub.run, name="frames")
            supervisor.keep(group, "timer", self._last_known.run, name="last-known")
            supervisor.keep(group, "timer", self._look, name="gateways")

    async def _serve(self, connection: Connection) -> None:
        self._retained.begin()
        self.alarms.begin()
        self._connection = connection
        try:
            for one in (self._requests.topic, self._inlet.topic, "status/#", "device/#", "gateway/#"):
                await self._subscribe(connection, one)
            self.hears_alarms = await self._subscribe(connection, topics.ALARMS, as_published=True)
            self.away = None
            self._retained.touch()
            await self._subscriptions.begin(connection)
            self._caught_up()
            async with task_group(mqtt.MqttError) as group:
                supervisor.part(group, self._subscriptions.run(connection), name="subscriptions")
                supervisor.part(group, self._sweep(), name="sweep")
        finally:
            self._connection = None
            self.hears_alarms = False

    async def _subscribe(self, connection: Connection, one: str, *, as_published: bool = False) -> bool:
        try:
            await connection.subscribe(one, as_published=as_published)
        except SubscriptionError as error:
            self._log.error("the broker refuses a subscription, the rest works: check its ACL", reason=str(error))
            return False
        return True

    async def _sweep(self) -> None:
        await asyncio.sleep(_SWEEP_SECONDS)
        self._retained.sweep()
        self.alarms.sweep()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.away is None:
                self._retained.expire(self._clock())

    def _lost(self, reason: str) -> None:
        """The connection is lost, or cannot be made for another reason than before."""
        self.away = reason
        self._retained.touch()
        if self.away_since is None:
            self.away_since = now_ms()
            if (gap := self.gap()) is not None:
                self.hub.say(gap)

    def _caught_up(self) -> None:
        """All that is watched comes again; what was published meanwhile may be in the database."""
        self._last_known.want_all()
        if (since := self.away_since) is not None:
            self.away_since = None
            self.hub.say(frames.gap(epoch.text(since), epoch.text(now_ms()), "the broker was away"))

    def _take(self, connection: Connection, message: Message) -> None:
        connection.acknowledge(message.packet_id)
        root = message.topic.partition("/")[0]
        try:
            if root == "dev":
                self._values.take(codec.decode(message.topic, message.payload), now_ms())
            elif root == "alarm":
                self.alarms.take(message.topic, message.payload, now_ms(), is_retained=message.retain)
            elif message.topic == self._requests.topic:
                self._requests.take(message.correlation_data, message.payload)
            elif message.topic == self._inlet.topic:
                self._inlet.take(message.payload)
            else:
                self._retained.take(message.topic, message.payload, message.message_expiry_interval, self._clock())
        except DecodeError as error:
            self._log.debug("a message cannot be read", root=root, reason=str(error))

    def _row(self, path: str) -> bytes:
        return _encode(device_state(self._retained, path, self.away))
