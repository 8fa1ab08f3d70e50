"""The alarms of all devices polled here: recovers their state, and publishes each change."""

import asyncio
from collections import Counter
from functools import partial

from gateway import metrics
from gateway.alarms.judgement import judge
from gateway.alarms.messages import AlarmMessages, Ownership
from gateway.alarms.polled import Key, PolledAlarms
from gateway.alarms.take_over import TakeOver
from gateway.config.devices import ConfiguredDevice
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.settings import Settings
from nexus import mqtt
from nexus.alarms.definition import AlarmDefinition
from nexus.alarms.machine import Change
from nexus.contract.alarm import AlarmMessage, Event, Record
from nexus.process import supervisor
from nexus.process.clock import now_ms


class Alarms:
    """A lone gateway trusts its own disk; in a group, what another gateway has retained meanwhile counts too."""

    def __init__(
        self,
        own: Settings,
        delivery: Delivery,
        control: ControlTopics,
        ownership: Ownership,
        group: asyncio.TaskGroup,
    ) -> None:
        self._group, self._ownership, self._alone = group, ownership, not own.is_one_of_several
        self.messages = AlarmMessages(own, delivery, control, ownership)
        self.take_over = TakeOver()
        self._known: set[str] = set()  # devices whose state is on our disk, unless another gateway had them since
        self._polled: dict[str, PolledAlarms] = {}
        metrics.alarms.follow(self.counts)

    async def open(self) -> None:
        """Reads the disk, and ends the alarms of devices that were removed from the files."""
        self._known = await self.messages.open()
        for path in [path for path in {*self._known, *self.messages.paths} if not self._ownership.has(path)]:
            self._end(path)

    def of(self, one: ConfiguredDevice) -> PolledAlarms | None:
        """Begins to evaluate the alarms of a device; None if it has none."""
        path = one.device.path
        if not one.alarms:
            self.messages.remove(self.messages.of(path))
            if not self._alone:
                supervisor.start(self._group, "device", self._clear(path), name=f"alarms {path}")
            return None
        polled = self._polled[path] = PolledAlarms(one, partial(self._say, one), self._ownership.may_poll)
        supervisor.start(self._group, "device", self._begin(one, polled), name=f"alarms {path}")
        return polled

    def polled(self, path: str) -> PolledAlarms | None:
        """The alarms of a device that is polled here."""
        return self._polled.get(path)

    def release(self, path: str) -> None:
        """A device is not polled here any more; another gateway has its alarms if it is still in the files."""
        if (polled := self._polled.pop(path, None)) is not None:
            polled.close()
        self.messages.hand_over(path)
        if self._ownership.has(path):
            self.messages.retained.release(path)
        else:
            self._end(path)

    async def serve(self, connection: mqtt.Connection) -> None:
        """Has the broker retain all latest messages, as long as the connection lasts. Raises MqttError."""
        self.take_over.connected(connection)
        for path in self._polled:
            self.messages.retain(path)
        try:
            await self.messages.serve(connection)
        finally:
            self.take_over.lost()

    def counts(self) -> dict[str, metrics.AlarmCounts]:
        """Counts for the metrics, by device name. Called in another thread."""
        found = {}
        for path, one in list(self._polled.items()):
            states = Counter(message.record.state for message in self.messages.of(path))
            found[one.name] = metrics.AlarmCounts(states, len(one.errors), one.chattered)
        return found

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        found = []
        if (failing := self.messages.records.failing) is not None:
            remedy = "free disk space, or mend the disk: a restart forgets what is not written"
            found.append(f"the alarms' record cannot be written ({failing}): {remedy}")
        errors = [(one.name, key, text) for one in self._polled.values() for key, text in one.errors.items()]
        if errors:
            device, (tag, name), text = errors[0]
            which = f"{tag}/{name}" if tag else name
            found.append(f"{len(errors)} alarms cannot be evaluated: {which} of device {device}: {text}")
        return found

    async def _begin(self, one: ConfiguredDevice, polled: PolledAlarms) -> None:
        """Recovers the state of a device's alarms, and begins; from our own disk alone if it can be trusted."""
        path, messages = polled.path, self.messages
        trusted = self._alone and path in self._known
        if trusted:
            self._resume(one, polled, messages.by_key(path))
        ended = set(messages.removed)  # the broker may clear these while we read what it retains
        retained = await self.take_over.retained(path)
        if self._polled.get(path) is not polled:
            return
        found = judge(path, polled.keys, messages.by_key(path), retained, now=now_ms(), own_wins=trusted)
        for fault in found.faults.values():
            metrics.alarm_messages_ignored.labels(fault).inc()
        if not trusted:
            self._resume(one, polled, found.messages)
        ended.update(messages.removed)
        messages.remove([message for message in found.stale if message.topic not in ended])
        for topic in found.faults.keys() - ended:
            messages.retained.say(path, topic)

    async def _clear(self, path: str) -> None:
        """Ends what is retained of a device's alarms: it has none any more."""
        retained = await self.take_over.retained(path)
        if path not in self._polled and self._ownership.may_state(path):
            stale = judge(path, (), {}, retained, now=now_ms(), own_wins=False).stale
            self.messages.remove([message for message in stale if message.topic not in self.messages.removed])

    def _resume(self, one: ConfiguredDevice, polled: PolledAlarms, before: dict[Key, AlarmMessage]) -> None:
        """Continues from the messages `before`, with priorities and texts as the file has them now."""
        path, messages = polled.path, self.messages
        messages.remove([message for key, message in messages.by_key(path).items() if key not in polled.keys])
        records: dict[Key, Record] = {}
        for what in one.alarms:
            if (message := before.get((what.tag, what.name))) is not None:
                messages.take_over(_message(one, what, message.record, message.event))
                records[what.tag, what.name] = message.record
        self._known.add(path)
        messages.records.device(path, is_ours=True)
        messages.retain(path)
        polled.begin(records)

    def _say(self, one: ConfiguredDevice, change: Change) -> None:
        if change.event == "raised":
            metrics.alarms.raised(one.device.name)
        self.messages.say(_message(one, change.definition, change.record, change.event))

    def _end(self, path: str) -> None:
        """Ends the alarms of a device that was removed from the files."""
        self.messages.remove(self.messages.of(path))
        if path in self._known:
            self._known.discard(path)
            self.messages.records.device(path, is_ours=False)


def _message(one: ConfiguredDevice, what: AlarmDefinition, record: Record, event: Event) -> AlarmMessage:
    unit = one.publish_options.units.get(what.tag)
    return AlarmMessage(
        one.device.path, what.tag, what.name, record, event, what.priority, what.text, what.response, unit
    )
