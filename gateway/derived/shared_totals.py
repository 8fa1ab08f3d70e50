"""Totals retained on the broker, for the gateway that takes a device over: its disk has older ones, or none."""

import asyncio
from contextlib import suppress
from functools import partial

from gateway import metrics
from gateway.delivery.control_topics import ControlTopics
from gateway.derived.kept_totals import KeptTotals
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.totals import Totals, decode_totals, encode_totals

LOOK_SECONDS = 1.0
SHARE_SECONDS = 15.0  # how often a device's are published at most, besides when it is released
EXPIRY_SECONDS = 30 * 86_400  # of the totals of a gateway that never came back


class SharedTotals:
    """Publishes the totals of the devices polled here; those of others are received and `kept`."""

    def __init__(self, group: str, member: str, kept: KeptTotals, control: ControlTopics) -> None:
        self.kept = kept
        self._group, self._member, self._control = group, member, control
        self._polled: dict[str, Totals] = {}
        self._said: dict[str, tuple[float, bytes]] = {}
        self._connection: mqtt.Connection | None = None
        self._clock = asyncio.get_running_loop().time

    def of(self, path: str) -> Totals:
        """The totals of a device that is polled here from now on."""
        self._polled[path] = self.kept.of(path)
        return self._polled[path]

    def release(self, path: str) -> None:
        """A device is not polled here any more: its next gateway continues from these totals."""
        totals = self._polled.pop(path, None)
        self._said.pop(path, None)
        if totals and self._connection is not None and self._connection.send_quota > 0 and self._may_send(path):
            with suppress(mqtt.MqttError):
                name = self._name(path)
                self._control.sent(name)
                payload = encode_totals(totals)
                done = partial(self._answered, name)
                self._connection.send(name, payload, done, retain=True, expiry=EXPIRY_SECONDS)

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes for as long as the connection lasts. Raises MqttError."""
        self._connection = connection
        self._said.clear()  # the broker may have lost what it retained
        try:
            while True:
                await self._say(connection, self._clock() - SHARE_SECONDS)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._connection = None

    async def leave(self, connection: mqtt.Connection) -> None:
        """The gateway stops: publishes the last totals. Raises MqttError."""
        await asyncio.gather(*await self._say(connection, self._clock()))

    def handle(self, message: mqtt.Message) -> bool:
        """Takes a message with totals; tells whether it was one."""
        if (found := topic.totals_of(self._group, message.topic)) is None:
            return False
        _, path = found
        if path not in self._polled and message.payload:
            try:
                self.kept.hear(path, decode_totals(message.payload))
            except DecodeError:
                metrics.presences_refused.inc()
        return True

    async def _say(self, connection: mqtt.Connection, before: float) -> list["asyncio.Future[int]"]:
        """What has changed of the devices of which nothing was said since `before`; gives the broker's answers."""
        answers = []
        for path, totals in list(self._polled.items()):
            at, said = self._said.get(path, (0.0, b""))
            if (said and at > before) or not totals or not self._may_send(path):
                continue
            payload, name = encode_totals(totals), self._name(path)
            self._said[path] = self._clock(), payload
            if payload != said:
                answer = await connection.publish(name, payload, retain=True, expiry=EXPIRY_SECONDS)
                self._control.sent(name)
                answer.add_done_callback(partial(self._done, name))
                answers.append(answer)
                if self._control.careful:
                    await answer
        return answers

    def _may_send(self, path: str) -> bool:
        now = self._clock()
        may = self._control.may_send(now, others_suspected=False)
        return may and not self._control.is_excluded(self._name(path), now)

    def _name(self, path: str) -> str:
        return topic.totals(self._group, self._member, path)

    def _done(self, name: str, answer: "asyncio.Future[int]") -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._answered(name, answer.result())

    def _answered(self, name: str, code: int) -> None:
        if code >= mqtt.REFUSED:
            metrics.refused.labels(mqtt.reason(code)).inc()
        self._control.answered(name, self._clock(), taken=code < mqtt.REFUSED)
