"""Keeps a connection to the broker, over its outages."""

import asyncio
from collections.abc import Awaitable, Callable

from nexus.mqtt.broker import Broker, Client
from nexus.mqtt.client import connect
from nexus.mqtt.connection import Connection, OnMessage
from nexus.mqtt.errors import MqttError
from nexus.process import log
from nexus.process.backoff import Backoff


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
    connection, once for each reason. The pauses between attempts grow up to `longest_pause` seconds. Logs an outage
    once, and its end.
    """
    logger = log.get("mqtt").bind(broker=str(broker), client=client.id)
    clock = asyncio.get_running_loop().time
    backoff = Backoff(longest_pause)
    outage: str | None = None
    while True:
        if before is not None:
            await before()
        connected_at = None
        try:
            async with connect(broker, client, on_message) as connection:
                logger.info("connected", session_present=connection.session_present, after_outage=outage)
                outage, connected_at = None, clock()
                await serve(connection)
                return
        except MqttError as error:
            if str(error) != outage:
                outage = str(error)
                logger.warning("broker away", error=outage)
                on_away(outage)
        await asyncio.sleep(backoff.pause(clock() - connected_at if connected_at else 0.0))
