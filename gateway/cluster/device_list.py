"""Publishes our device list in chunks when peers have another one: they need it to take devices over."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from gateway.cluster.problems import Problems
from gateway.delivery.control_topics import ControlTopics
from nexus import mqtt
from nexus.contract import presence as contract
from nexus.contract import topic
from nexus.contract.presence import Key, Mark


class DeviceList:
    """Keeps what is still to be published across connections; a chunk that the broker refuses is tried again."""

    def __init__(self, group: str, member: str, control: ControlTopics, problems: Problems) -> None:
        self._group, self._member = group, member
        self._control, self._problems = control, problems
        self._announced: str | None = None
        self._pending: dict[int, bytes] = {}
        self._in_flight: set[int] = set()
        self._chunks = 0  # that may be retained
        self._clock = asyncio.get_running_loop().time

    def connected(self) -> None:
        """A new connection: the broker may have lost what it retained."""
        self._announced = None
        self._pending.clear()
        self._in_flight.clear()

    def tell(self, connection: mqtt.Connection, digest: str, marks: Mapping[Key, Mark]) -> None:
        """Sends as much as the send quota allows."""
        if self._announced != digest:
            self._announced = digest
            self._pending = dict(enumerate(contract.chunks(marks)))
            self._in_flight.clear()
            self._chunks = max(self._chunks, len(self._pending))
        self.go_on(connection)

    def go_on(self, connection: mqtt.Connection) -> None:
        """Sends more of what is pending. After the broker hung up over a message, one at a time."""
        now = self._clock()
        if not self._pending or not self._control.may_send(now, others_suspected=False):
            return
        with suppress(mqtt.MqttError):
            for number in list(self._pending):
                name = self._name(number)
                if connection.send_quota <= 0 or (self._control.careful and self._in_flight):
                    return
                if self._control.is_excluded(name, now):
                    self._refused(name)
                    continue
                payload = self._pending.pop(number)
                self._in_flight.add(number)
                self._control.sent(name)
                connection.send(name, payload, partial(self._answered, self._announced, number, payload), retain=True)

    async def clear(self, connection: mqtt.Connection) -> None:
        """Clears the retained list: we are leaving."""
        names = [self._name(number) for number in range(self._chunks)]
        names = [name for name in names if not self._control.is_excluded(name, self._clock())]
        await asyncio.gather(*[await connection.publish(name, b"", retain=True) for name in names])

    def _name(self, number: int) -> str:
        return topic.devices_of(self._group, self._member, number)

    def _answered(self, announced: str | None, number: int, payload: bytes, code: int) -> None:
        taken, name = code < mqtt.REFUSED, self._name(number)
        self._control.answered(name, self._clock(), taken=taken)
        if announced != self._announced:
            return
        self._in_flight.discard(number)
        if not taken:
            self._pending[number] = payload
            self._refused(name)
        elif not self._pending and not self._in_flight:
            self._problems.note("list", None)

    def _refused(self, name: str) -> None:
        said = f"the broker refuses our device list on {name}, so no other gateway takes devices"
        self._problems.note("list", f"{said}: check its ACL")
