"""Opens connections: name resolution, TCP, TLS, CONNECT."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import mqtt5

from nexus.mqtt.broker import Broker, Client, Tls
from nexus.mqtt.connection import Connection, OnMessage
from nexus.mqtt.errors import MqttError
from nexus.mqtt.reader import LARGEST
from nexus.mqtt.stream import PacketStream
from nexus.process import supervisor, tls
from nexus.process.run import task_group

DIAL_SECONDS = 5.0  # for each address of the broker, with the TLS handshake


@asynccontextmanager
async def connect(broker: Broker, client: Client, on_message: OnMessage | None = None) -> AsyncIterator[Connection]:
    """A connection for as long as the block runs. Raises MqttError if it cannot be opened, or is lost meanwhile.

    Leaving the block by an exception lets the broker publish the will.
    """
    connection = Connection(on_message)
    try:
        await _open(broker, client, connection)
    except BaseException:
        await connection.close(with_will=False)
        raise
    clean = False
    try:
        async with task_group(MqttError) as group:
            watch = supervisor.part(group, connection.watch(), name="mqtt-watch")
            yield connection
            watch.cancel()
        clean = True
    finally:
        await connection.close(with_will=not clean)


async def _open(broker: Broker, client: Client, connection: Connection) -> None:
    try:
        await _dial(broker, connection.stream)
        async with asyncio.timeout(client.connect_seconds):
            await connection.open(_introduction(broker, client))
    except TimeoutError as error:
        raise MqttError("no answer in time") from error
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; `mqtt5` raises ValueError
        raise MqttError(_explain(error)) from error


async def _dial(broker: Broker, stream: PacketStream) -> None:
    """Tries the broker's addresses one after the other. Raises the error of the first one."""
    loop = asyncio.get_running_loop()
    context = None if broker.tls is None else await asyncio.to_thread(_context, broker.tls)
    found = await loop.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    errors: list[OSError] = []
    for host in dict.fromkeys(str(address[0]) for *_, address in found):
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await loop.create_connection(
                    lambda: stream, host, broker.port, ssl=context, server_hostname=broker.host if context else None
                )
            return
        except OSError as error:  # TimeoutError is one
            errors.append(error)
    raise errors[0]


def _context(files: Tls) -> ssl.SSLContext:
    """Reads the files again for each connection, so that renewed certificates are used from the next one on."""
    try:
        context = tls.trusting(files.ca_file)
        if files.cert_file is not None:
            context.load_cert_chain(files.cert_file, files.key_file)
    except OSError as error:
        raise MqttError(f"TLS files: {_explain(error)}") from error
    return context


def _introduction(broker: Broker, client: Client) -> mqtt5.ConnectPacket:
    will = None
    if client.will is not None:
        qos, retain = mqtt5.QoS.AT_LEAST_ONCE, client.will.retain
        will = mqtt5.Will(client.will.topic, payload=client.will.payload, qos=qos, retain=retain)
    return mqtt5.ConnectPacket(
        client.id,
        username=broker.user,
        password=None if broker.password is None else broker.password.encode(),
        clean_start=client.session_seconds == 0,
        will=will,
        keep_alive=broker.keepalive,
        session_expiry_interval=client.session_seconds,
        receive_max=client.receive_maximum,
        max_packet_size=LARGEST,
    )


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"we do not trust the broker's certificate: {error.verify_message}; see NEXUS_MQTT_CA_FILE"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
