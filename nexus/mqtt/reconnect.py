"""Keeps a connection to the broker, over its outages."""

import asyncio
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from nexus.mqtt.broker import Broker, Client
from nexus.mqtt.client import connect
from nexus.mqtt.connection import Connection, OnMessage
from nexus.mqtt.errors import MqttError
from nexus.process import log

STABLE_SECONDS = 30.0  # a connection that lasted this long starts the back-off afresh


async def stay_connected(
    broker: Broker,
    client: Client,
    serve: Callable[[Connection], Awaitable[None]],
    on_message: OnMessage | None = None,
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    on_away: Callable[[str], None] = lambda _: None,
    longest_pause: float = 30.0,
) -> None:
    """Runs `serve(connection)` until it returns; when the connection is lost, again on the next one.

    `before` is awaited before each attempt to connect; what it raises ends all. `on_away` is told why there is no
    connection, once for each reason. Waits between the attempts with a
    jittered exponential back-off of up to `longest_pause` seconds. Logs an outage once, and its end.
    """
    logger = log.get("mqtt").bind(broker=str(broker), client=client.id)
    loop = asyncio.get_running_loop()
    outage: str | None = None
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(MqttError),
        wait=wait_random_exponential(multiplier=0.5, max=longest_pause),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            if before is not None:
                await before()
            connected_at = loop.time()
            try:
                async with connect(broker, client, on_message) as connection:
                    logger.info("connected", session_present=connection.session_present, after_outage=outage)
                    outage, connected_at = None, loop.time()
                    await serve(connection)
                    return
            except MqttError as error:
                if loop.time() - connected_at > STABLE_SECONDS:
                    attempt.retry_state.attempt_number = 1
                if str(error) != outage:
                    outage = str(error)
                    logger.warning("broker away", error=outage)
                    on_away(outage)
                raise
