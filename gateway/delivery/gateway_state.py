"""Publishes how this gateway is doing, for people: retained, every few seconds while there is a connection."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway import metrics
from gateway.delivery.control_topics import ControlTopics
from nexus import mqtt
from nexus.contract.gateway_state import EVERY_SECONDS
from nexus.process import log, supervisor

EXPIRY_SECONDS = 3600  # the last state of a gateway that never came back expires


class StatePublisher:
    """Publishes `report()` on `name`. If the broker does not take a state, the next one replaces it."""

    def __init__(self, name: str, control: ControlTopics, report: Callable[[], Awaitable[bytes]]) -> None:
        self._name, self._control, self._report = name, control, report
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("state")

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes for as long as the connection lasts. Raises MqttError."""
        while True:
            if not self._control.is_excluded(self._name, self._clock()):
                await self._say(connection)
            await asyncio.sleep(EVERY_SECONDS)

    async def leave(self, connection: mqtt.Connection) -> None:
        """Clears the state: the gateway stops. Raises MqttError."""
        if not self._control.is_excluded(self._name, self._clock()):
            await (await connection.publish(self._name, b"", retain=True))

    async def _say(self, connection: mqtt.Connection) -> None:
        if (payload := await supervisor.run("timer", "state", self._report())) is None:
            return
        answer = await connection.publish(self._name, payload, retain=True, expiry=EXPIRY_SECONDS)
        self._control.sent(self._name)
        code = await answer
        taken = code < mqtt.REFUSED
        if not taken:
            metrics.refused.labels(mqtt.reason(code)).inc()
        if self._control.answered(self._name, self._clock(), taken=taken):
            self._log.error("the broker refuses our state", topic=self._name, reason=mqtt.reason(code))
