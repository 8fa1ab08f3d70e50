"""An MQTT 5 connection on the event loop. The only file that knows paho."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from nexus.runtime.broker import Broker, Client
from nexus.runtime.run import together

CONNECT_SECONDS = 5.0
WINDOW = 200  # paho's cost grows with what is unacknowledged; more gains nothing
READS_A_TURN = 32  # packets taken from the socket before the loop's other tasks have their turn

REFUSED = 0x80  # and above: reason codes of failure
PACKET_TOO_LARGE = 0x95


class MqttError(Exception):
    """The connection could not be made, or is lost. The text says why; connect again."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of QoS 1 that the broker holds until it is acknowledged.

    `answer_to` and `correlation` are there if its sender wants an answer.
    """

    topic: str
    payload: bytes
    mid: int
    retained: bool = False
    answer_to: str | None = None
    correlation: bytes | None = None


OnMessage = Callable[["Connection", Message], None]


class Connection:
    """One established connection. When it is lost, whatever runs in `connect`'s block gets MqttError."""

    def __init__(self, client: paho.Client, on_message: OnMessage | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._on_message = on_message
        self._connected: asyncio.Future[Properties | None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._misc: asyncio.TimerHandle | None = None
        self._sock: paho.SocketLike | None = None
        self._packets = 0
        self._looking = self._writing = False
        self.session_present = False
        self.ends_session = False  # set it, and the broker drops our session when the block is left
        self.maximum_packet_size = 268_435_455
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_publish = self._puback
        client.on_subscribe = client.on_unsubscribe = self._answered
        client.on_message = self._received

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes | None = None
    ) -> asyncio.Future[int]:
        """Sends with QoS 1, waiting for a place in the window; gives the PUBACK's reason code when it comes.

        The future is cancelled if the connection is lost first.
        """
        await self._window.acquire()
        if self._lost.done():
            raise MqttError(self._lost.result())
        try:
            info = self._client.publish(topic, payload, 1, retain, _correlated(correlation))
        except BaseException:
            self._window.release()
            raise
        acknowledged: asyncio.Future[int] = self._loop.create_future()
        self._pending[info.mid] = acknowledged
        return acknowledged

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribes with QoS 1. Raises MqttError when the broker refuses, with its reason."""
        result, mid = self._client.subscribe(topic_filter, options=SubscribeOptions(qos=1))
        for code in await self._answer(result, mid):
            if code.is_failure:
                raise MqttError(f"the broker refused the subscription to {topic_filter}: {code}")

    async def unsubscribe(self, topic_filter: str) -> None:
        """Ends a subscription; the broker sends nothing more for it."""
        result, mid = self._client.unsubscribe(topic_filter)
        await self._answer(result, mid)

    def acknowledge(self, mid: int) -> None:
        """Tells the broker that it may forget the message. Nothing happens once the connection is lost."""
        if not self._lost.done():
            self._client.ack(mid, 1)

    async def _answer(self, result: MQTTErrorCode, mid: int | None) -> list[ReasonCode]:
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise MqttError(paho.error_string(result))
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        return await answer

    # What follows runs as callbacks of the event loop.

    def _attach(self) -> None:
        sock = self._client.socket()
        if sock is None:
            self._lose("the connection closed at once")
            return
        self._sock = sock
        self._loop.add_reader(sock, self._read)
        self._client.on_socket_register_write = self._want_write
        self._client.on_socket_unregister_write = self._wrote
        self._client.on_socket_close = self._detach
        self._tick()
        self._read()

    def _detach(self, *_: object) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock = None
        if self._misc is not None:
            self._misc.cancel()

    def _want_write(self, *_: object) -> None:
        # What this turn of the loop has to send is sent at its end; the selector is asked only if something is left.
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        self._client.loop_write()
        if self._sock is not None and not self._writing and self._client.want_write():
            self._writing = True
            self._loop.add_writer(self._sock, self._client.loop_write)

    def _wrote(self, *_: object) -> None:
        if self._writing and self._sock is not None:
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _read(self) -> None:
        for _ in range(READS_A_TURN):
            before = self._packets
            self._client.loop_read()
            if self._packets == before or self._sock is None:
                break
        # What TLS has decrypted already wakes nobody.
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            self._loop.call_soon(self._read)

    def _tick(self) -> None:
        self._misc = self._loop.call_later(1.0, self._tick)
        self._client.loop_misc()

    def _connack(
        self, _c: object, _u: object, flags: paho.ConnectFlags, code: ReasonCode, props: Properties | None
    ) -> None:
        self._packets += 1
        if self._connected.done():
            return
        if code.is_failure:
            self._connected.set_exception(MqttError(f"the broker refused us: {code}"))
            return
        self.session_present = flags.session_present
        window = int(getattr(props, "ReceiveMaximum", 65535))
        self._window = asyncio.Semaphore(min(WINDOW, window))
        self.maximum_packet_size = int(getattr(props, "MaximumPacketSize", self.maximum_packet_size))
        self._connected.set_result(props)

    def _puback(self, _c: object, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        self._packets += 1
        if (acknowledged := self._pending.pop(mid, None)) is not None:
            self._window.release()
            if not acknowledged.done():
                acknowledged.set_result(code.value)

    def _answered(self, _c: object, _u: object, mid: int, codes: list[ReasonCode], _p: object) -> None:
        self._packets += 1
        if (answer := self._answers.pop(mid, None)) is not None and not answer.done():
            answer.set_result(codes)

    def _received(self, _c: object, _u: object, message: paho.MQTTMessage) -> None:
        self._packets += 1
        if self._on_message is None:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:  # the broker should have refused it
            self._client.ack(message.mid, message.qos)
            return
        self._on_message(self, Message(topic, bytes(message.payload), message.mid, message.retain, *_answer(message)))

    def _disconnected(self, _c: object, _u: object, _flags: object, code: ReasonCode, _p: object) -> None:
        self._lose(f"disconnected: {code}")

    def _lose(self, reason: str) -> None:
        self._detach()
        if not self._connected.done():
            self._connected.set_exception(MqttError(reason))
            self._connected.exception()  # whether or not anybody still waits for it
        if not self._lost.done():
            self._lost.set_result(reason)
        for _ in range(WINDOW):  # whoever waits to publish must hear of it
            self._window.release()
        for acknowledged in self._pending.values():
            acknowledged.cancel()
        for answer in self._answers.values():
            answer.cancel()
        self._pending.clear()
        self._answers.clear()

    async def _watch(self) -> None:
        raise MqttError(await asyncio.shield(self._lost))

    async def _close(self, *, with_will: bool) -> None:
        """Says goodbye if there still is a connection, and lets go of the socket in any case."""
        if not self._lost.done() and self._sock is not None:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            if self.ends_session:
                properties.SessionExpiryInterval = 0
            reason = ReasonCode(
                PacketTypes.DISCONNECT, "Disconnect with will message" if with_will else "Normal disconnection"
            )
            self._client.disconnect(reasoncode=reason, properties=properties)
            with suppress(TimeoutError):  # a goodbye that the network does not take is not worth waiting for
                async with asyncio.timeout(1):
                    await asyncio.shield(self._lost)
        self._lose("closed")
        self._client.on_socket_close = None
        if (sock := self._client.socket()) is not None:
            with suppress(OSError):
                sock.close()


def _correlated(data: bytes | None) -> Properties | None:
    if data is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.CorrelationData = data
    return properties


def _answer(message: paho.MQTTMessage) -> tuple[str | None, bytes | None]:
    properties = message.properties
    if properties is None:
        return None, None
    return getattr(properties, "ResponseTopic", None), getattr(properties, "CorrelationData", None)


def reason(code: int) -> str:
    """The name of a PUBACK's reason code."""
    if code == PACKET_TOO_LARGE:
        return "Packet too large"
    return ReasonCode(PacketTypes.PUBACK, identifier=code).getName()


@asynccontextmanager
async def connect(broker: Broker, client: Client, on_message: OnMessage | None = None) -> AsyncIterator[Connection]:
    """A connection for as long as the block runs. Raises MqttError when it can't be made, or is lost meanwhile.

    Leaving the block by an exception lets the broker publish the will.
    """
    native = _native(broker, client, manual_ack=on_message is not None)
    connection = Connection(native, on_message)
    try:
        await _open(native, broker, client, connection)
    except BaseException:
        await connection._close(with_will=False)
        raise
    clean = False
    try:
        async with together() as group:
            watch = group.create_task(connection._watch(), name="mqtt-watch")
            yield connection
            watch.cancel()
        clean = True
    finally:
        await connection._close(with_will=not clean)


async def _open(native: paho.Client, broker: Broker, client: Client, connection: Connection) -> None:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = client.session_seconds
    properties.ReceiveMaximum = client.receive_maximum
    clean_start = client.session_seconds == 0

    def dial() -> None:
        native.connect(broker.host, broker.port, broker.keepalive, clean_start=clean_start, properties=properties)

    # Name resolution and the TLS handshake block, so they have a thread; a cancelled wait must not leak its socket.
    dialling = asyncio.get_running_loop().run_in_executor(None, dial)
    try:
        await asyncio.shield(dialling)
        connection._attach()
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection._connected
    except asyncio.CancelledError:
        with suppress(OSError, ValueError, asyncio.CancelledError):
            await dialling
        raise
    except TimeoutError as error:
        raise MqttError("no answer in time") from error
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; paho says some things by ValueError
        raise MqttError(_explain(error)) from error


def _native(broker: Broker, client: Client, *, manual_ack: bool) -> paho.Client:
    native = paho.Client(
        CallbackAPIVersion.VERSION2,
        client.id,
        protocol=paho.MQTTv5,
        manual_ack=manual_ack,
        reconnect_on_failure=False,
    )
    native.connect_timeout = CONNECT_SECONDS
    native.max_inflight_messages_set(0)  # the window is ours: paho's ignores the broker's receive maximum
    if broker.user is not None:
        native.username_pw_set(broker.user, broker.password)
    if broker.tls is not None:
        try:
            context = ssl.create_default_context(cafile=broker.tls.ca_file)
            if broker.tls.cert_file is not None:
                context.load_cert_chain(broker.tls.cert_file, broker.tls.key_file)
        except OSError as error:
            raise MqttError(f"TLS files: {_explain(error)}") from error
        native.tls_set_context(context)
    if client.will is not None:
        native.will_set(client.will.topic, client.will.payload, qos=1, retain=client.will.retain)
    return native


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"we do not trust the broker's certificate: {error.verify_message}; see NEXUS_MQTT_CA_FILE"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved: {error.strerror}"
    return str(error) or type(error).__name__
