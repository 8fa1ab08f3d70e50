"""The last word of each alarm: in memory, on our disk, and then on the broker."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from gateway.alarms.polled import Key
from gateway.alarms.records import Records
from gateway.alarms.retained import RetainedWords
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.settings import Settings
from nexus import mqtt
from nexus.alarms.machine import after
from nexus.contract import alarm as contract
from nexus.contract.alarm import Record, Word
from nexus.contract.codec import DecodeError
from nexus.process.clock import now_ms

STORE_SECONDS = 0.02  # what changes within is one write
LOOK_SECONDS = 1.0
FLUSH_SECONDS = 0.5  # at a stop


class Ownership(Protocol):
    """What the group knows of a device: whether it is in our files, and whether we may poll, and speak of it, now."""

    def has(self, path: str) -> bool: ...

    def may_poll(self) -> bool: ...

    def may_state(self, path: str) -> bool: ...


class Words:
    """Words by device path and topic. A word is on our disk before it leaves, if the disk takes it."""

    def __init__(self, own: Settings, delivery: Delivery, control: ControlTopics, ownership: Ownership) -> None:
        self._ownership = ownership
        self._record = delivery.publisher.record
        self.records = Records(own.spool_dir / f"alarms-{delivery.outbox.spool.number}.db", delivery.outbox)
        self.retained = RetainedWords(
            control, delivery.blocked, ownership.may_state, present=self._present, cleared=self._cleared
        )
        self._words: dict[str, dict[str, Word]] = {}
        self._removed: dict[str, Word] = {}  # of which the broker may still retain something, by topic
        self._unsaid: list[tuple[int, Word, bytes]] = []  # with the numbers that they have as events
        self._wake = asyncio.Event()
        self._stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> set[str]:
        """Reads what is known from before, and gives the devices that this gateway polled. What did not reach the
        spool is published again."""
        found = await self.records.open()
        for topic, payload in found.words.items():
            with suppress(DecodeError):
                self._remember(contract.decode(topic, payload))
        for number, topic, payload in found.events:
            with suppress(DecodeError):
                contract.decode(topic, payload)
                self.records.handed(number, self._record(topic, payload))
        return found.devices

    @property
    def paths(self) -> Collection[str]:
        """The devices of which there are words, ours or not."""
        return self._words.keys()

    @property
    def removed(self) -> Collection[str]:
        """The topics of alarms that have left the files, until the broker retains nothing of them."""
        return self._removed.keys()

    def of(self, path: str) -> list[Word]:
        """The words of a device."""
        return list(self._words.get(path, {}).values())

    def by_key(self, path: str) -> dict[Key, Word]:
        """The same by tag and name."""
        return {(word.tag, word.name): word for word in self.of(path)}

    def say(self, word: Word) -> None:
        """An event: remembered, written, and then published."""
        payload = contract.encode(word)
        self._remember(word)
        self._unsaid.append((self.records.keep(word.topic, payload), word, payload))
        self._wake.set()

    def take_over(self, word: Word) -> None:
        """What another gateway said last, or we did, before our disk was lost."""
        if self._words.get(word.device, {}).get(word.topic) != word:
            self._remember(word)
            self.records.keep(word.topic, contract.encode(word), is_event=False)

    def remove(self, words: Collection[Word]) -> None:
        """Alarms have left the files: an occurrence that is open ends, and the broker retains nothing any more."""
        now = now_ms()
        for word in words:
            self._words.get(word.device, {}).pop(word.topic, None)
            reason = "not in the device files any more"
            at = after(word.record.ts, now)
            record = Record(occurrence=word.record.occurrence, since=at, ts=at, reason=reason)
            gone = replace(word, record=record, event="removed")
            if word.record.state != "normal":
                self.say(gone)
            else:
                self._remember(gone)
                self.records.keep(gone.topic, contract.encode(gone), is_event=False)
                self.retained.say(word.device, word.topic)

    def retain(self, path: str) -> None:
        """Has the broker retain all words of a device again."""
        for topic in self._words.get(path, {}):
            self.retained.say(path, topic)

    def hand_over(self, path: str) -> None:
        """Publishes a device's last words at once: another gateway reads them as soon as it hears that we let go."""
        self._publish(lambda _, word: word.device == path, is_ours=self._ownership.may_poll())

    async def run(self) -> None:
        """Writes and publishes for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            await asyncio.sleep(STORE_SECONDS)
            await self._flush()

    async def serve(self, connection: mqtt.Connection) -> None:
        """Keeps the broker's retained words up to date for as long as the connection lasts. Raises MqttError."""
        unsaid = {word.topic for _, word, _ in self._unsaid}  # these are cleared after their last word
        for topic in self._removed.keys() - unsaid:
            self.retained.say(self._removed[topic].device, topic)
        await self.retained.run(connection)

    async def stored(self) -> None:
        """Waits until all that was said so far is on disk, as far as the disk takes it."""
        await asyncio.shield(self._stored)

    async def flush(self) -> None:
        """Publishes what is not said yet, whether or not the disk has it in time: the gateway stops."""
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

    def _publish(self, wanted: Callable[[int, Word], bool], *, is_ours: bool = False) -> None:
        """Those that are wanted. They are retained while it `is_ours` to say how the device is, for certain."""
        ready = [one for one in self._unsaid if wanted(*one[:2])]
        self._unsaid = [one for one in self._unsaid if not wanted(*one[:2])]
        for number, word, payload in ready:
            is_gone = word.event == "removed"
            retain = not is_gone and (is_ours or self._ownership.may_state(word.device))
            batch = self._record(word.topic, payload, retain=retain)
            self.records.handed(number, batch)
            if is_gone:
                self.retained.say(word.device, word.topic)
            else:
                self.retained.live(word.device, word.topic, batch)

    def _remember(self, word: Word) -> None:
        if word.event == "removed":
            self._removed[word.topic] = word
        else:
            self._removed.pop(word.topic, None)
            self._words.setdefault(word.device, {})[word.topic] = word

    def _present(self, path: str, topic: str) -> bytes:
        word = self._words.get(path, {}).get(topic)
        return contract.encode(word) if word is not None else b""

    def _cleared(self, topic: str) -> None:
        if self._removed.pop(topic, None) is not None:
            self.records.forget(topic)
