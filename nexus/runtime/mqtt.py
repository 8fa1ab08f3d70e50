"""MQTT 5 on the event loop: makes connections."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from nexus.runtime import guard, packets, tls
from nexus.runtime.broker import Broker, Client
from nexus.runtime.connection import Connection, MqttError, OnMessage
from nexus.runtime.message import Message
from nexus.runtime.run import together

__all__ = [
    "NOBODY",
    "PACKET_TOO_LARGE",
    "REFUSED",
    "Connection",
    "Message",
    "MqttError",
    "OnMessage",
    "blames_a_message",
    "connect",
    "is_denied",
    "is_filter",
    "matches",
    "reason",
]

CONNECT_SECONDS = 5.0
NOBODY = 0x10  # the broker took it, and had no subscriber to give it to
REFUSED = 0x80  # and above: reason codes of failure
PACKET_TOO_LARGE = 0x95
# Why brokers disconnect over what was sent, and not over who sent it.
_BLAMES = (
    "Not authorized",
    "Topic name invalid",
    "Packet too large",
    "Payload format invalid",
    "Retain not supported",
    "Implementation specific error",
)
# Unspecified, implementation specific, not authorized, quota exceeded: of the topic or the moment, not of the message.
_DENIED = frozenset({0x80, 0x83, 0x87, 0x97})


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic is one that a filter speaks of."""
    return bool(paho.topic_matches_sub(pattern, topic))


def is_filter(text: str) -> bool:
    """Whether one can subscribe to this."""
    levels = text.split("/")
    whole = all(level == "+" or not {"+", "#"} & set(level) for level in levels[:-1])
    return bool(text) and "\0" not in text and whole and (levels[-1] in "+#" or not {"+", "#"} & set(levels[-1]))


def is_denied(code: int) -> bool:
    """Whether a PUBACK's reason code says that the broker takes this message later or never, whatever is in it."""
    return code in _DENIED


def blames_a_message(lost: str | None) -> bool:
    """Whether the broker ended a connection over something that was sent; `lost` is the connection's."""
    return lost is not None and any(name in lost for name in _BLAMES)


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
    native = _native(broker, client)
    connection = Connection(native, on_message)
    try:
        await _open(native, broker, client, connection)
    except BaseException:
        await connection.close(with_will=False)
        raise
    clean = False
    try:
        async with together() as group:
            watch = guard.part(group, connection.watch(), name="mqtt-watch")
            yield connection
            watch.cancel()
        clean = True
    finally:
        await connection.close(with_will=not clean)


async def _open(native: paho.Client, broker: Broker, client: Client, connection: Connection) -> None:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = client.session_seconds
    properties.ReceiveMaximum = client.receive_maximum
    properties.MaximumPacketSize = packets.LARGEST
    clean_start = client.session_seconds == 0

    def dial() -> None:
        native.connect(broker.host, broker.port, broker.keepalive, clean_start=clean_start, properties=properties)

    # Name resolution and the TLS handshake block, so they have a thread; a cancelled wait must not leak its socket.
    dialling = asyncio.get_running_loop().run_in_executor(None, dial)
    try:
        await asyncio.shield(dialling)
        connection.attach()
        async with asyncio.timeout(client.connect_seconds):
            await connection.connected
    except asyncio.CancelledError:
        with suppress(OSError, ValueError, asyncio.CancelledError):
            await dialling
        raise
    except TimeoutError as error:
        raise MqttError("no answer in time") from error
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; paho says some things by ValueError
        raise MqttError(_explain(error)) from error


def _native(broker: Broker, client: Client) -> paho.Client:
    native = paho.Client(
        CallbackAPIVersion.VERSION2,
        client.id,
        protocol=paho.MQTTv5,
        reconnect_on_failure=False,
    )
    native.connect_timeout = CONNECT_SECONDS
    if broker.user is not None:
        native.username_pw_set(broker.user, broker.password)
    if broker.tls is not None:
        try:
            context = tls.trusting(broker.tls.ca_file)
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
