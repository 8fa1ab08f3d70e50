"""The alarms of all devices that are polled here: how they were before, and what becomes of each change."""

import asyncio
from collections import Counter
from functools import partial

from gateway import metrics
from gateway.alarms.judgement import judge
from gateway.alarms.polled import Key, PolledAlarms
from gateway.alarms.take_over import TakeOver
from gateway.alarms.words import Ownership, Words
from gateway.config.devices import ConfiguredDevice
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.settings import Settings
from nexus import mqtt
from nexus.alarms.definition import AlarmDefinition
from nexus.alarms.machine import Change
from nexus.contract.alarm import Event, Record, Word
from nexus.process import guard
from nexus.process.clock import now_ms


class Alarms:
    """Alone, a gateway trusts its own record; in a group, also what another may have retained meanwhile."""

    def __init__(
        self,
        own: Settings,
        delivery: Delivery,
        control: ControlTopics,
        ownership: Ownership,
        group: asyncio.TaskGroup,
    ) -> None:
        self._group, self._ownership, self._alone = group, ownership, not own.is_one_of_several
        self.words = Words(own, delivery, control, ownership)
        self.take_over = TakeOver()
        self._known: set[str] = set()  # devices of which our record knows all, unless another gateway had them
        self._polled: dict[str, PolledAlarms] = {}
        metrics.alarms.follow(self.counts)

    async def open(self) -> None:
        """Reads what is known from before."""
        self._known = await self.words.open()
        for path in [path for path in {*self._known, *self.words.paths} if not self._ownership.has(path)]:
            self._end(path)

    def of(self, one: ConfiguredDevice) -> PolledAlarms | None:
        """The alarms of a device that is polled here from now on; None if it has none."""
        path = one.device.path
        if not one.alarms:
            self.words.remove(self.words.of(path))
            if not self._alone:
                guard.start(self._group, "device", self._clear(path), name=f"alarms {path}")
            return None
        polled = self._polled[path] = PolledAlarms(one, partial(self._say, one), self._ownership.may_poll)
        guard.start(self._group, "device", self._begin(one, polled), name=f"alarms {path}")
        return polled

    def polled(self, path: str) -> PolledAlarms | None:
        """The alarms of a device that is polled here."""
        return self._polled.get(path)

    def release(self, path: str) -> None:
        """A device is not polled here any more; another gateway has its alarms if it is still in the files."""
        if (polled := self._polled.pop(path, None)) is not None:
            polled.close()
        self.words.hand_over(path)
        if self._ownership.has(path):
            self.words.retained.release(path)
        else:
            self._end(path)

    async def serve(self, connection: mqtt.Connection) -> None:
        """Retains all present words again, and each that did not arrive live. Raises MqttError."""
        self.take_over.connected(connection)
        for path in self._polled:
            self.words.retain(path)
        try:
            await self.words.serve(connection)
        finally:
            self.take_over.lost()

    def counts(self) -> dict[str, metrics.AlarmCounts]:
        """What is counted, by the names of the devices polled here; for another thread."""
        found = {}
        for path, one in list(self._polled.items()):
            states = Counter(word.record.state for word in self.words.of(path))
            found[one.name] = metrics.AlarmCounts(states, len(one.errors), one.chattered)
        return found

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        found = []
        if (failing := self.words.records.failing) is not None:
            remedy = "free disk space, or mend the disk: a restart forgets what is not written"
            found.append(f"the alarms' record cannot be written ({failing}): {remedy}")
        errors = [(one.name, key, text) for one in self._polled.values() for key, text in one.errors.items()]
        if errors:
            device, (tag, name), text = errors[0]
            which = f"{tag}/{name}" if tag else name
            found.append(f"{len(errors)} alarms cannot be evaluated: {which} of device {device}: {text}")
        return found

    async def _begin(self, one: ConfiguredDevice, polled: PolledAlarms) -> None:
        """Finds out how a device's alarms were before, and begins; our own record is enough if it can be trusted."""
        path, words = polled.path, self.words
        trusted = self._alone and path in self._known
        if trusted:
            self._go_on(one, polled, words.by_key(path))
        ended = set(words.removed)  # which the broker may have forgotten by the time that we have heard it
        retained = await self.take_over.words(path)
        if self._polled.get(path) is not polled:
            return
        found = judge(path, polled.keys, words.by_key(path), retained, now=now_ms(), own_wins=trusted)
        for fault in found.faults.values():
            metrics.alarm_words_ignored.labels(fault).inc()
        if not trusted:
            self._go_on(one, polled, found.words)
        ended.update(words.removed)
        words.remove([word for word in found.stale if word.topic not in ended])
        for topic in found.faults.keys() - ended:
            words.retained.say(path, topic)

    async def _clear(self, path: str) -> None:
        """A device has no alarms any more: what another gateway, or we, said of them before ends."""
        retained = await self.take_over.words(path)
        if path not in self._polled and self._ownership.may_state(path):
            stale = judge(path, (), {}, retained, now=now_ms(), own_wins=False).stale
            self.words.remove([word for word in stale if word.topic not in self.words.removed])

    def _go_on(self, one: ConfiguredDevice, polled: PolledAlarms, before: dict[Key, Word]) -> None:
        """Alarms that stand get the texts that the file has now."""
        path, words = polled.path, self.words
        words.remove([word for key, word in words.by_key(path).items() if key not in polled.keys])
        records: dict[Key, Record] = {}
        for what in one.alarms:
            if (word := before.get((what.tag, what.name))) is not None:
                words.take_over(_word(one, what, word.record, word.event))
                records[what.tag, what.name] = word.record
        self._known.add(path)
        words.records.device(path, is_ours=True)
        words.retain(path)
        polled.begin(records)

    def _say(self, one: ConfiguredDevice, change: Change) -> None:
        if change.event == "raised":
            metrics.alarms.raised(one.device.name)
        self.words.say(_word(one, change.definition, change.record, change.event))

    def _end(self, path: str) -> None:
        """A device has left the files."""
        self.words.remove(self.words.of(path))
        if path in self._known:
            self._known.discard(path)
            self.words.records.device(path, is_ours=False)


def _word(one: ConfiguredDevice, what: AlarmDefinition, record: Record, event: Event) -> Word:
    unit = one.publish_options.units.get(what.tag)
    return Word(one.device.path, what.tag, what.name, record, event, what.priority, what.text, what.response, unit)
