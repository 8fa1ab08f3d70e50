"""The last message of each alarm: in memory, then on our disk, then on the broker."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from gateway.alarms.polled import Key
from gateway.alarms.records import Records
from gateway.alarms.retained import RetainedMessages
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.settings import Settings
from nexus import mqtt
from nexus.alarms.machine import after
from nexus.contract import alarm as contract
from nexus.contract.alarm import AlarmMessage, Record
from nexus.contract.codec import DecodeError
from nexus.process.clock import now_ms

STORE_SECONDS = 0.02  # changes within it share a write
LOOK_SECONDS = 1.0
FLUSH_SECONDS = 0.5  # at a stop


class Ownership(Protocol):
    """What the group decides: whether a device is in our files, whether we may poll now, and publish its state."""

    def has(self, path: str) -> bool: ...

    def may_poll(self) -> bool: ...

    def may_state(self, path: str) -> bool: ...


class AlarmMessages:
    """Messages by device path and topic. Each is on our disk before it is published, if the disk takes it."""

    def __init__(self, own: Settings, delivery: Delivery, control: ControlTopics, ownership: Ownership) -> None:
        self._ownership = ownership
        self._record = delivery.publisher.record
        self.records = Records(own.spool_dir / f"alarms-{delivery.outbox.spool.number}.db", delivery.outbox)
        self.retained = RetainedMessages(
            control, delivery.blocked, ownership.may_state, present=self._present, cleared=self._cleared
        )
        self._messages: dict[str, dict[str, AlarmMessage]] = {}
        self._removed: dict[str, AlarmMessage] = {}  # of which the broker may still retain something, by topic
        self._unpublished: list[tuple[int, AlarmMessage, bytes]] = []  # with their numbers as events
        self._wake = asyncio.Event()
        self._stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> set[str]:
        """Reads the disk; returns the devices that this gateway polled. Events that are not in the spool are published
        again."""
        found = await self.records.open()
        for topic, payload in found.messages.items():
            with suppress(DecodeError):
                self._remember(contract.decode(topic, payload))
        for number, topic, payload in found.events:
            with suppress(DecodeError):
                contract.decode(topic, payload)
                self.records.handed(number, self._record(topic, payload))
        return found.devices

    @property
    def paths(self) -> Collection[str]:
        """The devices that have messages, ours or not."""
        return self._messages.keys()

    @property
    def removed(self) -> Collection[str]:
        """The topics of alarms removed from the files, until the broker has cleared them."""
        return self._removed.keys()

    def of(self, path: str) -> list[AlarmMessage]:
        """The messages of a device."""
        return list(self._messages.get(path, {}).values())

    def by_key(self, path: str) -> dict[Key, AlarmMessage]:
        """The same by tag and name."""
        return {(message.tag, message.name): message for message in self.of(path)}

    def say(self, message: AlarmMessage) -> None:
        """Takes an event: it is remembered, written to disk, and then published."""
        payload = contract.encode(message)
        self._remember(message)
        self._unpublished.append((self.records.keep(message.topic, payload), message, payload))
        self._wake.set()

    def take_over(self, message: AlarmMessage) -> None:
        """Takes the last message of another gateway, or of ours before its disk was lost."""
        if self._messages.get(message.device, {}).get(message.topic) != message:
            self._remember(message)
            self.records.keep(message.topic, contract.encode(message), is_event=False)

    def remove(self, messages: Collection[AlarmMessage]) -> None:
        """Ends alarms that were removed from the files: open occurrences are closed, retained messages cleared."""
        now = now_ms()
        for message in messages:
            self._messages.get(message.device, {}).pop(message.topic, None)
            reason = "not in the device files any more"
            at = after(message.record.ts, now)
            record = Record(occurrence=message.record.occurrence, since=at, ts=at, reason=reason)
            gone = replace(message, record=record, event="removed")
            if message.record.state != "normal":
                self.say(gone)
            else:
                self._remember(gone)
                self.records.keep(gone.topic, contract.encode(gone), is_event=False)
                self.retained.say(message.device, message.topic)

    def retain(self, path: str) -> None:
        """Publishes all messages of a device again, retained."""
        for topic in self._messages.get(path, {}):
            self.retained.say(path, topic)

    def hand_over(self, path: str) -> None:
        """Publishes a device's last messages at once: its next gateway reads them when we announce the release."""
        self._publish(lambda _, message: message.device == path, is_ours=self._ownership.may_poll())

    async def run(self) -> None:
        """Writes and publishes for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            await asyncio.sleep(STORE_SECONDS)
            await self._flush()

    async def serve(self, connection: mqtt.Connection) -> None:
        """Keeps the broker's retained messages up to date for as long as the connection lasts. Raises MqttError."""
        pending = {message.topic for _, message, _ in self._unpublished}  # these are cleared after their last message
        for topic in self._removed.keys() - pending:
            self.retained.say(self._removed[topic].device, topic)
        await self.retained.run(connection)

    async def stored(self) -> None:
        """Waits until all events so far are on disk, or the disk has refused them."""
        await asyncio.shield(self._stored)

    async def flush(self) -> None:
        """Publishes what is pending, whether or not it is on disk in time: the gateway stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.records.store()
        self._publish(lambda *_: True)

    async def _flush(self) -> None:
        self._wake.clear()
        upto = self.records.last
        stored, self._stored = self._stored, asyncio.get_running_loop().create_future()
        await self.records.store()
        self._publish(lambda number, _: number <= upto)
        stored.set_result(None)

    def _publish(self, wanted: Callable[[int, AlarmMessage], bool], *, is_ours: bool = False) -> None:
        """Publishes the wanted ones; retained if the device `is_ours`, or the group lets us publish its state."""
        ready = [one for one in self._unpublished if wanted(*one[:2])]
        self._unpublished = [one for one in self._unpublished if not wanted(*one[:2])]
        for number, message, payload in ready:
            is_gone = message.event == "removed"
            retain = not is_gone and (is_ours or self._ownership.may_state(message.device))
            batch = self._record(message.topic, payload, retain=retain)
            self.records.handed(number, batch)
            if is_gone:
                self.retained.say(message.device, message.topic)
            else:
                self.retained.live(message.device, message.topic, batch)

    def _remember(self, message: AlarmMessage) -> None:
        if message.event == "removed":
            self._removed[message.topic] = message
        else:
            self._removed.pop(message.topic, None)
            self._messages.setdefault(message.device, {})[message.topic] = message

    def _present(self, path: str, topic: str) -> bytes:
        message = self._messages.get(path, {}).get(topic)
        return contract.encode(message) if message is not None else b""

    def _cleared(self, topic: str) -> None:
        if self._removed.pop(topic, None) is not None:
            self.records.forget(topic)
