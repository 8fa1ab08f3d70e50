"""Has the broker retain each alarm's latest message: after each connection, and where one did not arrive live."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gateway import metrics
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from nexus import mqtt
from nexus.process import log

LOOK_SECONDS = 0.5

Present = Callable[[str, str], bytes]  # path and topic to the latest message; empty for an alarm that was removed


class RetainedMessages:
    """`may_state` tells whether a device is ours at that moment: after a while without the broker another may have it.

    `cleared` is called with each topic on which the broker retains nothing any more.
    """

    def __init__(
        self,
        control: ControlTopics,
        blocked: BlockedTopics,
        may_state: Callable[[str], bool],
        *,
        present: Present,
        cleared: Callable[[str], None],
    ) -> None:
        self._control, self._blocked, self._may_state = control, blocked, may_state
        self._present, self._cleared = present, cleared
        self._dirty: dict[str, str] = {}  # the device's path, by topic
        self._live: dict[str, tuple[str, Batch]] = {}  # messages in flight, by topic
        self._changed = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("alarms")

    def live(self, path: str, name: str, batch: Batch) -> None:
        """A message is being published live; if the broker does not take it so, it is published again from here."""
        self._dirty.pop(name, None)
        self._live[name] = path, batch

    def say(self, path: str, name: str) -> None:
        """The broker retains something else than the latest message, which is to be published."""
        self._dirty[name] = path
        self._changed.set()

    def release(self, path: str) -> None:
        """A device is not ours any more: its new gateway publishes from now on."""
        for name in [name for name, owner in self._dirty.items() if owner == path]:
            del self._dirty[name]
            self._control.forget(name)
        for name in [name for name, (owner, _) in self._live.items() if owner == path]:
            del self._live[name]

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes for as long as the connection lasts. Raises MqttError."""
        while True:
            self._changed.clear()
            self._look()
            await self._publish_dirty(connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    def _look(self) -> None:
        for name, (path, batch) in list(self._live.items()):
            if batch.in_flight:
                continue
            del self._live[name]
            if not batch.retain:  # it goes, or went, through the spool, whose messages are not retained
                self._dirty[name] = path

    async def _publish_dirty(self, connection: mqtt.Connection) -> None:
        for name, path in list(self._dirty.items()):
            if not self._control.may_send(self._clock(), others_suspected=self._blocked.has_suspects):
                return
            await connection.has_quota()
            if name not in self._dirty or not self._may_state(path):
                continue
            del self._dirty[name]
            payload = self._present(path, name)
            if self._control.is_excluded(name, self._clock()):
                self._settle(name, payload)
                continue
            answer = await connection.publish(name, payload, retain=True)
            self._control.sent(name)
            answer.add_done_callback(partial(self._answered, name, payload))
            if self._control.careful:
                await answer

    def _answered(self, name: str, payload: bytes, answer: "asyncio.Future[int]") -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        code = answer.result()
        taken = code < mqtt.REFUSED
        if not taken:
            metrics.refused.labels(mqtt.reason(code)).inc()
        if self._control.answered(name, self._clock(), taken=taken):
            self._log.error("the broker refuses an alarm", topic=name, reason=mqtt.reason(code))
        self._settle(name, payload)

    def _settle(self, name: str, payload: bytes) -> None:
        """The topic is clear if the payload was empty: the broker took it, or retains nothing there anyway."""
        if not payload:
            self._cleared(name)
