"""The retained descriptions of our devices: published once a connection, and again before they expire at the broker.

The description of a device whose gateway never came back expires; one that leaves the files is removed. A device that
goes to another gateway keeps its description, until that one publishes its own in its place.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway import metrics
from gateway.config.devices import ConfiguredDevice
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.renewal import Renewal
from nexus import mqtt
from nexus.contract import topic
from nexus.process import log, supervisor

EXPIRY_SECONDS = 86_400
AGAIN_SECONDS = 28_800.0
LOOK_SECONDS = 1.0
REFUSED_SECONDS = 60.0  # a broker that refuses one usually refuses all

Describe = Callable[[ConfiguredDevice, int], bytes]  # the payload, of at most so many bytes


class Descriptions:
    """Each waits for the answer to the one before: thousands come at once after a reconnect, and readings go first.

    `may_state` tells whether a device is ours at that moment: after a while without the broker another may have it.
    """

    def __init__(
        self, control: ControlTopics, blocked: BlockedTopics, may_state: Callable[[str], bool], describe: Describe
    ) -> None:
        self._control, self._blocked, self._may_state, self._describe = control, blocked, may_state, describe
        self._devices: dict[str, ConfiguredDevice | None] = {}  # None: removed from the files, to be cleared
        self._dirty: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._renewal = Renewal(AGAIN_SECONDS, self._clock())
        self._log = log.get("descriptions")

    def add(self, one: ConfiguredDevice) -> None:
        """A device is polled here from now on."""
        self._set(one.device.path, one)

    def forget(self, path: str) -> None:
        """A device is not ours any more: another gateway describes it."""
        self._devices.pop(path, None)
        self._dirty.pop(path, None)
        self._control.forget(topic.description(path))

    def remove(self, path: str) -> None:
        """A device is in no file any more."""
        self._set(path, None)

    def _set(self, path: str, one: ConfiguredDevice | None) -> None:
        self._devices[path] = one
        self._dirty[path] = None
        self._changed.set()

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes descriptions for as long as the connection lasts. Raises MqttError."""
        self._dirty.update(dict.fromkeys(self._devices))  # a broker may have lost what it retained
        self._renewal.begin(self._clock())
        while True:
            self._changed.clear()
            await self._publish_dirty(connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            self._dirty.update(dict.fromkeys(self._renewal.due(self._devices, self._clock())))

    async def _publish_dirty(self, connection: mqtt.Connection) -> None:
        for path in list(self._dirty):
            now = self._clock()
            if not self._control.may_send(now, others_suspected=self._blocked.has_suspects):
                return
            if path not in self._dirty or not self._may_state(path):
                continue
            del self._dirty[path]
            if self._control.is_excluded(topic.description(path), now):
                if self._devices[path] is None:
                    self.forget(path)  # the broker retains none
            elif not await self._say(connection, path, self._devices[path]):
                await asyncio.sleep(REFUSED_SECONDS)

    async def _say(self, connection: mqtt.Connection, path: str, one: ConfiguredDevice | None) -> bool:
        """Tells whether the broker takes it."""
        name, payload = topic.description(path), b""
        if one is not None:
            try:
                payload = self._describe(one, connection.maximum_packet_size)
            except Exception as error:  # a fault in a driver costs this description only
                supervisor.failed("device", f"describe {path}", error)
                return True
        answer = await connection.publish(name, payload, retain=True, expiry=EXPIRY_SECONDS if one else 0)
        self._control.sent(name)
        code = await answer
        taken = code < mqtt.REFUSED
        if not taken:
            metrics.refused.labels(mqtt.reason(code)).inc()
        if self._control.answered(name, self._clock(), taken=taken):
            self._log.error("the broker refuses a device's description", topic=name, reason=mqtt.reason(code))
        if self._devices.get(path) is None and one is None:
            self.forget(path)
        return taken
