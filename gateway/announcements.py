"""What a gateway publishes for people, retained: descriptions of its devices, and its own state."""

import asyncio
from importlib.metadata import version

from gateway.cluster.coordinator import GroupCoordinator
from gateway.config.description import describe
from gateway.config.devices import ConfiguredDevice
from gateway.config.watcher import ConfigWatcher
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.delivery.descriptions import Descriptions
from gateway.delivery.gateway_state import StatePublisher
from gateway.files.requests import FileRequests
from gateway.vitals import Vitals
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.description import LARGEST_BYTES, encode_description
from nexus.contract.gateway_state import DeviceFiles, GatewayState, encode_gateway_state
from nexus.process import supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group

_OVERHEAD = 4096  # bytes of a packet beside its payload


class Announcements:
    """Descriptions of devices, and our state."""

    def __init__(
        self,
        group: str,
        coordinator: GroupCoordinator,
        watch: ConfigWatcher,
        files: FileRequests,
        delivery: Delivery,
        *,
        control: ControlTopics,
    ) -> None:
        self._group = group
        self._coordinator, self._watch, self._files, self._delivery = coordinator, watch, files, delivery
        self.descriptions = Descriptions(control, delivery.blocked, coordinator.may_state, self._described)
        self._state = StatePublisher(topic.gateway_state(group, coordinator.member), control, self._reported)
        self._clock = asyncio.get_running_loop().time
        self._vitals = Vitals(self._clock())
        self._connected_since = 0
        self.devices = 0  # that are polled here

    def start(self, one: ConfiguredDevice) -> None:
        """A device is polled here from now on."""
        self.devices += 1
        self.descriptions.add(one)

    def release(self, path: str) -> None:
        """A device is not polled here any more; another gateway describes it if it is still in the files."""
        self.devices -= 1
        if self._coordinator.has(path):
            self.descriptions.forget(path)
        else:
            self.descriptions.remove(path)

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes for as long as the connection lasts. Raises MqttError."""
        self._connected_since = now_ms()
        async with task_group(mqtt.MqttError) as group:
            supervisor.part(group, self.descriptions.run(connection), name="descriptions")
            supervisor.part(group, self._state.run(connection), name="state")

    async def leave(self, connection: mqtt.Connection) -> None:
        """The gateway stops. Raises MqttError."""
        await self._state.leave(connection)

    def _described(self, one: ConfiguredDevice, most: int) -> bytes:
        description = describe(one, self._group, self._coordinator.member, now_ms())
        return encode_description(description, min(LARGEST_BYTES, most - _OVERHEAD))

    async def _reported(self) -> bytes:
        reason = await asyncio.to_thread(lambda: self._files.read_only_because)
        rate, late = self._vitals.take(self._clock())
        contents = self._delivery.outbox.spool.contents
        return encode_gateway_state(
            GatewayState(
                version("nexus-edge"),
                self.devices,
                rate,
                late,
                contents.messages,
                contents.size,
                self._delivery.gauges.full_in,
                self._delivery.outbox.unsettled,
                self._connected_since,
                DeviceFiles(self._watch.digest, reason is None, self._watch.error),
                now_ms(),
            )
        )
