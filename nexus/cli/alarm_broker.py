"""Alarms through the broker: what it retains of them, and requests to the gateways that evaluate them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from nexus import mqtt
from nexus.contract import ack, alarm, topic
from nexus.contract.ack import Answer, Request
from nexus.contract.alarm import AlarmMessage
from nexus.contract.codec import DecodeError
from nexus.process import settings
from nexus.process.errors import UnavailableError

QUIET_SECONDS = 0.5  # without another retained message: that was all
MOST_SECONDS = 10.0
ANSWER_SECONDS = 10.0

_SILENT = (
    "no gateway has answered, so the outcome is unknown: check that the gateway is running, and that the name is as "
    "`nexus alarms list` shows it"
)
_NOBODY = "no gateway is subscribed, so nothing was done: check that the gateway is running"


async def messages(path: str | None = None) -> list[AlarmMessage]:
    """The last messages of all alarms, or of a device and those below it. Raises UnavailableError."""
    found: dict[str, bytes] = {}
    arrived = asyncio.Event()

    def take(connection: mqtt.Connection, message: mqtt.Message) -> None:
        found[message.topic] = message.payload
        arrived.set()
        connection.acknowledge(message.packet_id)

    async with _connected(take) as connection:
        with suppress(TimeoutError):
            async with asyncio.timeout(MOST_SECONDS):
                await connection.subscribe(topic.ALARMS if path is None else topic.alarms(path))
                await _until_quiet(arrived)
    return list(_decoded(found.items()))


async def ask(requests: Sequence[tuple[str, Request]]) -> list[Answer]:
    """The answers to requests about alarms, by their topics. Raises UnavailableError."""
    mine = f"answer/alarms-{secrets.token_hex(8)}"
    waiting: dict[bytes, asyncio.Future[Answer]] = {}

    def take(connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.packet_id)
        waits = waiting.get(message.correlation_data or b"")
        if waits is not None and not waits.done():
            with suppress(DecodeError):
                waits.set_result(ack.decode_answer(message.payload))

    async def asked(connection: mqtt.Connection, name: str, request: Request) -> Answer:
        correlation = secrets.token_bytes(8)
        waits: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting[correlation] = waits
        taken = await connection.publish(
            name,
            ack.encode_request(request),
            response_topic=mine,
            correlation=correlation,
            expiry=round(ANSWER_SECONDS),
        )
        if (code := await taken) == mqtt.NO_MATCHING_SUBSCRIBERS:
            return Answer(ok=False, error=_NOBODY)
        if code >= mqtt.REFUSED:
            return Answer(ok=False, error=f"the broker refuses it ({mqtt.reason(code)}): see its rules for this user")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waits
        except TimeoutError:
            return Answer(ok=False, error=_SILENT)

    async with _connected(take) as connection:
        await connection.subscribe(mine)
        return list(await asyncio.gather(*(asked(connection, *one) for one in requests)))


@asynccontextmanager
async def _connected(take: mqtt.OnMessage) -> AsyncIterator[mqtt.Connection]:
    """A connection with the login of NEXUS_MQTT_*. Raises UnavailableError, ConfigError."""
    broker = mqtt.settings.load(settings.load(settings.Process).environment)
    try:
        async with mqtt.connect(broker, mqtt.Client(f"nexus-alarms-{secrets.token_hex(8)}"), take) as connection:
            yield connection
    except mqtt.MqttError as error:
        raise UnavailableError(f"NEXUS_MQTT_URL: {broker}: {error}") from None


async def _until_quiet(arrived: asyncio.Event) -> None:
    while True:
        arrived.clear()
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await arrived.wait()
        except TimeoutError:
            return


def _decoded(found: Iterable[tuple[str, bytes]]) -> Iterable[AlarmMessage]:
    """What is not an alarm is left out: gateways overwrite it."""
    for name, payload in found:
        with suppress(DecodeError):
            if payload:
                yield alarm.decode(name, payload)
