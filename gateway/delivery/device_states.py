"""The retained states of our devices: published when they change, and again before they expire at the broker.

Each expires after EXPIRY_SECONDS. So the state of a device whose gateway died, or that was taken out of the files
meanwhile, does not stay "online" for ever.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gateway import metrics
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.renewal import Renewal
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.status import Status, encode_status
from nexus.process import log
from nexus.process.clock import now_ms

EXPIRY_SECONDS = 1800
AGAIN_SECONDS = 600.0  # all are published again within this time, spread over it
HANDOVER_SECONDS = 60
_LOOK_SECONDS = 1.0


class DeviceStates:
    """The last state of each device that is ours, published over one connection after the other.

    `may_state` tells whether a device is ours at that moment: after a while without the broker another may have it.
    """

    def __init__(self, control: ControlTopics, blocked: BlockedTopics, may_state: Callable[[str], bool]) -> None:
        self._control, self._blocked, self._may_state = control, blocked, may_state
        self._states: dict[str, Status] = {}
        self._dirty: dict[str, None] = {}
        self._ended: set[str] = set()  # published once more, and then dropped
        self._connection: mqtt.Connection | None = None
        self._changed = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._renewal = Renewal(AGAIN_SECONDS, self._clock())
        self._log = log.get("states")

    def say(self, path: str, status: Status) -> None:
        """Sets a device's state; only the last one of each device is kept."""
        self._states[path] = status
        self._dirty[path] = None
        self._ended.discard(path)
        self._changed.set()

    def end(self, path: str, status: Status) -> None:
        """Sets the last state of a device that no longer exists."""
        self.say(path, status)
        self._ended.add(path)

    def forget(self, path: str) -> None:
        """A device is not ours any more: another gateway publishes its state."""
        self._states.pop(path, None)
        self._dirty.pop(path, None)
        self._ended.discard(path)
        self._control.forget(topic.status(path))

    def hand_over(self, path: str) -> None:
        """A device goes to another gateway: unless that one publishes its state, ours expires soon.

        This is sent before the presence that releases the device, so it arrives before what the other publishes.
        """
        status, name, connection = self._states.get(path), topic.status(path), self._connection
        is_said = path not in self._dirty and not self._control.is_excluded(name, self._clock())
        self.forget(path)
        if status is None or not is_said or connection is None or connection.send_quota <= 0 or self._control.careful:
            return
        with suppress(mqtt.MqttError):
            payload = encode_status(status)
            connection.send(name, payload, lambda _: None, retain=True, expiry=HANDOVER_SECONDS)

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes states for as long as the connection lasts."""
        self._connection = connection
        try:
            await self._run(connection)
        finally:
            self._connection = None

    async def _run(self, connection: mqtt.Connection) -> None:
        self._dirty.update(dict.fromkeys(self._states))  # a broker may have lost what it retained
        self._renewal.begin(self._clock())
        while True:
            self._changed.clear()
            await self._publish_dirty(connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()
            self._dirty.update(dict.fromkeys(self._renewal.due(self._states, self._clock())))

    async def leave(self, connection: mqtt.Connection) -> None:
        """Publishes that nobody polls these devices now, which is true until another gateway says otherwise."""
        stopped = encode_status(Status("offline", "the gateway was stopped", now_ms()))
        answers = []
        for path in self._states:
            name = topic.status(path)
            if self._control.is_excluded(name, self._clock()) or not self._may_state(path):
                continue
            answers.append(await connection.publish(name, stopped, retain=True))
        await asyncio.gather(*answers)

    async def _publish_dirty(self, connection: mqtt.Connection) -> None:
        for path in list(self._dirty):
            if not self._may_say():
                return
            await connection.has_quota()
            if path not in self._dirty or not self._may_state(path):
                continue
            del self._dirty[path]
            name, status = topic.status(path), self._states[path]
            if self._control.is_excluded(name, self._clock()):
                if path in self._ended:
                    self.forget(path)  # the broker retains no state of it
                continue
            answer = await connection.publish(name, encode_status(status), retain=True, expiry=EXPIRY_SECONDS)
            self._control.sent(name)
            answer.add_done_callback(partial(self._answered, path, status))
            if self._control.careful:
                await answer

    def _may_say(self) -> bool:
        return self._control.may_send(self._clock(), others_suspected=self._blocked.has_suspects)

    def _answered(self, path: str, said: Status, answer: "asyncio.Future[int]") -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        name, code = topic.status(path), answer.result()
        taken = code < mqtt.REFUSED
        if not taken:
            metrics.refused.labels(mqtt.reason(code)).inc()
        if self._control.answered(name, self._clock(), taken=taken):
            self._log.error("the broker refuses a device state", topic=name, reason=mqtt.reason(code))
        if path in self._ended and self._states.get(path) is said:
            self.forget(path)
