"""The alarms of all devices that are polled here: from before, through each change, to the broker."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from gateway import metrics
from gateway.alarms.judgement import judge
from gateway.alarms.polled import Key, PolledAlarms
from gateway.alarms.records import Records
from gateway.alarms.retained import RetainedWords
from gateway.alarms.take_over import TakeOver
from gateway.config.devices import ConfiguredDevice
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.settings import Settings
from nexus import mqtt
from nexus.alarms.machine import Change
from nexus.contract import alarm as contract
from nexus.contract.alarm import Record, Word
from nexus.contract.codec import DecodeError
from nexus.process import guard
from nexus.process.clock import now_ms

STORE_SECONDS = 0.02  # what changes within is one write
LOOK_SECONDS = 1.0
FLUSH_SECONDS = 0.5  # at a stop


class Ownership(Protocol):
    """What the group knows of a device: whether it is in our files, and whether we may poll, and speak of it, now."""

    def has(self, path: str) -> bool: ...

    def may_poll(self) -> bool: ...

    def may_state(self, path: str) -> bool: ...


class Alarms:
    """Words by device path and topic. A word is on our disk before it leaves, if the disk takes it.

    Alone, a gateway trusts its own record; in a group, also what another may have retained meanwhile.
    """

    def __init__(
        self,
        own: Settings,
        delivery: Delivery,
        control: ControlTopics,
        ownership: Ownership,
        group: asyncio.TaskGroup,
    ) -> None:
        self._group, self._ownership, self._alone = group, ownership, not own.is_one_of_several
        self._record = delivery.publisher.record
        file = own.spool_dir / f"alarms-{delivery.outbox.spool.number}.db"
        self.records = Records(file, delivery.outbox)
        self.take_over = TakeOver()
        self.retained = RetainedWords(
            control, delivery.blocked, ownership.may_state, present=self._present, cleared=self._cleared
        )
        self._words: dict[str, dict[str, Word]] = {}
        self._removed: dict[str, Word] = {}  # of which the broker may still retain something, by topic
        self._known: set[str] = set()  # devices of which our record knows all, unless another gateway had them
        self._polled: dict[str, PolledAlarms] = {}
        self._unsaid: list[tuple[int, Word, bytes]] = []
        self._wake = asyncio.Event()
        self._stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        metrics.alarms.follow(self.counts)

    async def open(self) -> None:
        """Reads what is known from before. What did not reach the spool is published again."""
        found = await self.records.open()
        for topic, payload in found.words.items():
            with suppress(DecodeError):
                self._remember(contract.decode(topic, payload))
        for number, topic, payload in found.events:
            self.records.handed(number, self._record(topic, payload))
        self._known = found.devices
        for path in [path for path in found.devices | self._words.keys() if not self._ownership.has(path)]:
            self._end(path)

    def of(self, one: ConfiguredDevice) -> PolledAlarms | None:
        """The alarms of a device that is polled here from now on; None if it has none."""
        path = one.device.path
        if not one.alarms:
            self._remove(list(self._words.get(path, {}).values()))
            return None
        polled = self._polled[path] = PolledAlarms(one, partial(self._say, one), self._ownership.may_poll)
        guard.start(self._group, "device", self._begin(polled), name=f"alarms {path}")
        return polled

    def polled(self, path: str) -> PolledAlarms | None:
        """The alarms of a device that is polled here."""
        return self._polled.get(path)

    def word(self, topic: str, path: str) -> Word | None:
        """What was said last of an alarm."""
        return self._words.get(path, {}).get(topic)

    def release(self, path: str) -> None:
        """A device is not polled here any more; another gateway has its alarms if it is still in the files."""
        if (polled := self._polled.pop(path, None)) is not None:
            polled.close()
        # Before the presence by which another gateway begins, which then reads these.
        self._publish(lambda _, word: word.device == path, is_ours=self._ownership.may_poll())
        if self._ownership.has(path):
            self.retained.release(path)
        else:
            self._end(path)

    async def run(self) -> None:
        """Writes and publishes for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            await asyncio.sleep(STORE_SECONDS)
            await self._flush()

    async def flush(self) -> None:
        """Publishes what is not said yet, whether or not the disk has it in time: the gateway stops."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.records.store()
        except TimeoutError:
            pass
        self._publish(lambda *_: True)

    def close(self) -> None:
        """Lets go of the record."""
        self.records.close()

    async def stored(self) -> None:
        """Waits until all that was said so far is on disk, as far as the disk takes it."""
        await asyncio.shield(self._stored)

    async def serve(self, connection: mqtt.Connection) -> None:
        """Retains all present words again, and each that did not arrive live. Raises MqttError."""
        self.take_over.connected(connection)
        for path in self._polled:
            for topic in self._words.get(path, {}):
                self.retained.say(path, topic)
        for topic, word in self._removed.items():
            self.retained.say(word.device, topic)
        try:
            await self.retained.run(connection)
        finally:
            self.take_over.lost()

    def counts(self) -> dict[str, metrics.AlarmCounts]:
        """What is counted, by the names of the devices polled here; for another thread."""
        found = {}
        for path, one in list(self._polled.items()):
            states = Counter(word.record.state for word in list(self._words.get(path, {}).values()))
            found[one.name] = metrics.AlarmCounts(states, len(one.errors), one.chattered)
        return found

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        found = []
        if self.records.failing is not None:
            remedy = "free disk space, or mend the disk: a restart forgets what is not written"
            found.append(f"the alarms' record cannot be written ({self.records.failing}): {remedy}")
        errors = [(one.name, key, text) for one in self._polled.values() for key, text in one.errors.items()]
        if errors:
            device, (tag, name), text = errors[0]
            which = f"{tag}/{name}" if tag else name
            found.append(f"{len(errors)} alarms cannot be evaluated: {which} of device {device}: {text}")
        return found

    async def _begin(self, polled: PolledAlarms) -> None:
        """Finds out how a device's alarms were before, and begins; our own record is enough if it can be trusted."""
        path = polled.path
        trusted = self._alone and path in self._known
        if trusted:
            self._go_on(polled, self._own(path))
        retained = await self.take_over.words(path)
        if self._polled.get(path) is not polled:
            return
        keys = {(one.tag, one.name) for one in polled.definitions}
        found = judge(path, keys, self._own(path), retained, now=now_ms(), own_wins=trusted)
        for fault in found.faults.values():
            metrics.alarm_words_ignored.labels(fault).inc()
        if not trusted:
            self._go_on(polled, found.words)
        self._remove([word for word in found.stale if word.topic not in self._removed])
        for topic in found.faults.keys() - self._removed.keys():
            self.retained.say(path, topic)

    def _go_on(self, polled: PolledAlarms, words: dict[Key, Word]) -> None:
        path = polled.path
        keys = {(one.tag, one.name) for one in polled.definitions}
        self._remove([word for word in self._words.get(path, {}).values() if (word.tag, word.name) not in keys])
        for word in words.values():
            if self.word(word.topic, path) != word and (word.tag, word.name) in keys:
                self._remember(word)
                self.records.keep(word.topic, contract.encode(word), is_event=False)
        self._known.add(path)
        self.records.device(path, is_ours=True)
        for topic in self._words.get(path, {}):
            self.retained.say(path, topic)
        polled.begin({key: word.record for key, word in words.items() if key in keys})

    def _own(self, path: str) -> dict[Key, Word]:
        return {(word.tag, word.name): word for word in self._words.get(path, {}).values()}

    def _say(self, one: ConfiguredDevice, change: Change) -> None:
        """An event: remembered, written, and then published."""
        what, path = change.definition, one.device.path
        unit = one.publish_options.units.get(what.tag)
        word = Word(
            path, what.tag, what.name, change.record, change.event, what.priority, what.text, what.response, unit
        )
        if change.event == "raised":
            metrics.alarms.raised(one.device.name)
        self._remember(word)
        self._queue(word)

    def _queue(self, word: Word) -> None:
        payload = contract.encode(word)
        self._unsaid.append((self.records.keep(word.topic, payload), word, payload))
        self._wake.set()

    def _remember(self, word: Word) -> None:
        if word.event == "removed":
            self._removed[word.topic] = word
        else:
            self._removed.pop(word.topic, None)
            self._words.setdefault(word.device, {})[word.topic] = word

    def _end(self, path: str) -> None:
        """A device has left the files."""
        self._remove(list(self._words.get(path, {}).values()))
        if path in self._known:
            self._known.discard(path)
            self.records.device(path, is_ours=False)

    def _remove(self, words: list[Word]) -> None:
        """Alarms have left the files: an occurrence that is open ends, and the broker retains nothing any more."""
        now = now_ms()
        for word in words:
            self._words.get(word.device, {}).pop(word.topic, None)
            record = Record(
                occurrence=word.record.occurrence, since=now, ts=now, reason="not in the device files any more"
            )
            gone = replace(word, record=record, event="removed", publisher=None, numbers=(0, -1))
            self._remember(gone)
            if word.record.state != "normal":
                self._queue(gone)
            else:
                self.records.keep(gone.topic, contract.encode(gone), is_event=False)
                self.retained.say(word.device, word.topic)

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

    def _present(self, path: str, topic: str) -> bytes:
        word = self.word(topic, path)
        return contract.encode(word) if word is not None else b""

    def _cleared(self, topic: str) -> None:
        if self._removed.pop(topic, None) is not None:
            self.records.forget(topic)
