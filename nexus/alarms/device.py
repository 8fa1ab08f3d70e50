"""All alarms of one device: pure, the clock an argument; times in epoch ms.

A value that changes nothing costs little: each tag has a band within which none of its alarms has to be looked at, or
takes the value quickly; and an alarm that rests is looked at only if its expressions give something else than before.
"""

from collections.abc import Collection, Iterable, Mapping

from nexus.alarms.alarm import Alarm, set_band
from nexus.alarms.condition import LostDevice, evaluator
from nexus.alarms.definition import AlarmDefinition, Lost
from nexus.alarms.look import UNCERTAIN, Look, Quick, TagState
from nexus.alarms.machine import Change, Machine, RequestError
from nexus.contract.ack import Request
from nexus.contract.alarm import Record
from nexus.contract.reading import Reading, Value

Key = tuple[str, str]  # tag, name

JUMP_MS = 1000  # the clock was set back, if by as much


class DeviceAlarms:
    """`records` are what is known from before, by tag and name; `due` is when to `tick` at the latest.

    `errors` has what cannot be evaluated now, and why, by tag and name.
    """

    def __init__(self, definitions: Iterable[AlarmDefinition], records: Mapping[Key, Record] | None = None) -> None:
        self.due: int | None = None
        self.errors: dict[Key, str] = {}
        self._now = 0
        self._jumped = 0  # of the clock, in all
        self._alarms: dict[Key, Alarm] = {}
        self._tags: dict[str, TagState] = {}
        self._of_tag: dict[str, list[Alarm]] = {}  # those to look at when its value changes
        self._naming: dict[str, dict[Alarm, None]] = {}  # of these, those with a limit or an expression that names it
        self._values: dict[str, Value] = {}  # of tags that are named
        self._to_look_at: dict[Alarm, None] = {}
        self._noted: list[TagState] = []
        self._glance = Look(TagState(), self._values, False, 0)
        self._dues: dict[Alarm, int] = {}
        known = [(one, (records or {}).get((one.tag, one.name), Record())) for one in definitions]
        was_lost = any(isinstance(one.condition, Lost) and record.active for one, record in known)
        for definition, record in known:
            self._add(definition, record, was_lost=was_lost)
        every = self._alarms.values()
        self._lost = [alarm for alarm in every if isinstance(alarm.evaluator, LostDevice)]
        self._loss = next((alarm.machine.record.reason for alarm in self._lost if alarm.machine.record.active), None)
        self._is_hiding = any(alarm.machine.by_loss for alarm in every)  # the others, because the device is lost

    def _add(self, definition: AlarmDefinition, record: Record, *, was_lost: bool) -> None:
        source = evaluator(definition, record.value if record.active else None)
        own = [definition.tag] if definition.tag else []
        tag = self._tags.setdefault(definition.tag, TagState(definition.tag)) if own else TagState()
        alarm = self._alarms[definition.tag, definition.name] = Alarm(
            Machine(definition, record, is_lost=was_lost), tag, source
        )
        for name in alarm.names.union(own):
            self._tags.setdefault(name, TagState(name))
            self._of_tag.setdefault(name, []).append(alarm)
        for name in alarm.names:
            self._naming.setdefault(name, {})[alarm] = None

    @property
    def tags(self) -> frozenset[str]:
        """Those whose readings it looks at."""
        return frozenset(self._tags)

    def record(self, tag: str, name: str) -> Record:
        """The present one of an alarm. Raises KeyError."""
        return self._alarms[tag, name].machine.record

    @property
    def records(self) -> dict[Key, Record]:
        """The present ones, by tag and name."""
        return {key: alarm.machine.record for key, alarm in self._alarms.items()}

    @property
    def chattering(self) -> dict[Key, int]:
        """How often alarms chattered, by tag and name; only those that did."""
        return {key: count for key, alarm in self._alarms.items() if (count := alarm.machine.chattering)}

    def read(self, readings: Iterable[Reading], now_ms: int) -> list[Change]:
        """Takes a scan, or changes that the device tells of by itself, in order."""
        changes = self._reach(now_ms)
        tags, now = self._tags, self._now - self._jumped
        for reading in readings:
            if (tag := tags.get(reading.tag)) is None:
                continue
            value, quick = reading.value, tag.quick
            if (
                (type(value) is float or type(value) is int)
                and tag.low <= value <= tag.high
                and reading.quality >= UNCERTAIN
                and (quick is None or (not tag.noted and quick(value, reading, now)))
            ):
                tag.seen, tag.latest = now, reading
            else:
                self._note(tag, reading, changes)
        if self._to_look_at:
            self._look(changes)
        return changes

    def lost(self, now_ms: int, reason: str) -> list[Change]:
        """The device cannot be reached: nothing is known of its tags any more.

        Without an alarm for that, its tags' alarms say it, by readings that are bad or do not come.
        """
        changes = self._reach(now_ms)
        if self._loss is not None or not self._lost:
            return changes
        self._loss = reason
        self._values.clear()
        for tag in self._tags.values():
            tag.forget()
        for alarm in self._alarms.values():
            alarm.machine.freeze()
        self._look_at(self._alarms.values(), changes)
        return changes

    def found(self, now_ms: int) -> list[Change]:
        """The device answers."""
        changes = self._reach(now_ms)
        if self._loss is None:
            return changes
        self._loss = None
        for tag in self._tags.values():
            tag.seen = self._now - self._jumped
        self._look_at(self._alarms.values(), changes)
        return changes

    def tick(self, now_ms: int) -> list[Change]:
        """Ends what is due."""
        return self._reach(now_ms)

    def clock_moved(self, by_ms: int) -> list[Change]:
        """The clock jumped, against one that does not: what was to happen in a minute still does so."""
        changes: list[Change] = []
        if not self._now:
            return changes
        self._now += by_ms
        self._jumped += by_ms
        for alarm in self._alarms.values():
            changes += alarm.machine.move(by_ms, self._now)
        self._plan(self._alarms.values())
        return changes

    def ask(self, tag: str, name: str, request: Request, now_ms: int) -> Change:
        """Does what a person asks. Raises RequestError."""
        if (alarm := self._alarms.get((tag, name))) is None:
            raise RequestError("there is no such alarm")
        change = alarm.machine.ask(request, now_ms)
        self._plan([alarm])
        return change

    def _reach(self, now: int) -> list[Change]:
        """What happened until now by time alone."""
        changes: list[Change] = []
        if not self._now:
            self._now = now
            self._begin(changes)
        elif now <= self._now - JUMP_MS:
            changes = self.clock_moved(now - self._now)
        self._now = max(now, self._now)
        if self.due is not None and now >= self.due:
            self._look_at([alarm for alarm, due in self._dues.items() if due <= now], changes)
        return changes

    def _begin(self, changes: list[Change]) -> None:
        for tag in self._tags.values():
            tag.seen = self._now
        for alarm in self._alarms.values():
            changes += alarm.machine.begin(self._now)
        self._look_at(self._alarms.values(), changes)

    def _note(self, tag: TagState, reading: Reading, changes: list[Change]) -> None:
        """Keeps a reading whose alarms have to be looked at: at the end of the scan, or before the tag's next one."""
        if usable := reading.quality >= UNCERTAIN:
            tag.seen = self._now - self._jumped
            if isinstance(reading.value, bool) and tag.quick is None and tag.low <= reading.value <= tag.high:
                tag.latest = reading
                return
        last = tag.latest
        if last is not None and last.value == reading.value and last.quality == reading.quality and not tag.each:
            return
        if self._loss is not None:
            if not usable:
                return
            changes += self.found(self._now)
        if tag.noted:
            self._look(changes)
        tag.take(reading)
        tag.noted = True
        self._noted.append(tag)
        if reading.tag in self._naming:
            if tag.value is not None:
                self._values[reading.tag] = tag.value
            else:
                self._values.pop(reading.tag, None)
        for alarm in self._of_tag[reading.tag]:
            alarm.wake()
            self._to_look_at[alarm] = None

    def _told(self, tag: TagState) -> Quick:
        """Takes a number of a tag that is named: whoever names it has to be looked at, unless it rests."""
        name, values, naming = tag.name, self._values, self._naming[tag.name]

        def take(value: float, _reading: Reading, _now: int) -> bool:
            if values[name] != value:
                values[name] = value
                tag.noted = True
                self._noted.append(tag)
                self._to_look_at.update(naming)
            return True

        return take

    def _look_at(self, alarms: Iterable[Alarm], changes: list[Change]) -> None:
        for alarm in alarms:
            alarm.wake()
            self._to_look_at[alarm] = None
        self._look(changes)

    def _look(self, changes: list[Change]) -> None:
        """Looks at the alarms that something may have changed for."""
        alarms, self._to_look_at = self._to_look_at, {}
        noted, self._noted = self._noted, []
        values = self._values
        awake = [alarm for alarm in alarms if not alarm.rests(values)]
        for tag in noted:
            tag.noted = False
        look = self._glance
        look.now, look.loss = self._now - self._jumped, self._loss
        for alarm in awake:
            changes += alarm.look(look, self._now)
            if alarm.error or self.errors:
                self._tell(alarm)
        unbounded = [tag for tag in noted if tag.low > tag.high]
        if awake or unbounded:
            self._plan(awake, unbounded)
        if self._lost or self._is_hiding:
            self._hide(changes)

    def _tell(self, alarm: Alarm) -> None:
        """Why it cannot be evaluated."""
        key = alarm.machine.definition.tag, alarm.machine.definition.name
        if alarm.error:
            self.errors[key] = alarm.error
        else:
            self.errors.pop(key, None)

    def _plan(self, alarms: Collection[Alarm], tags: Iterable[TagState] = ()) -> None:
        """When to look at them again, and which values of their tags, and of these, have to be looked at."""
        dues, jumped, is_lost = self._dues, self._jumped, self._loss is not None
        for alarm in alarms:
            alarm.rest()
            if (due := alarm.due(jumped, is_lost)) is not None:
                dues[alarm] = due
            elif dues:
                dues.pop(alarm, None)
        self.due = min(dues.values()) if dues else None
        for tag in {alarm.tag for alarm in alarms}.union(tags):
            if tag.name:
                others = self._told(tag) if tag.name in self._naming else None
                set_band(tag, self._of_tag[tag.name], others)

    def _hide(self, changes: list[Change]) -> None:
        """While the device is lost, its other alarms that are not normal are suppressed; none is raised meanwhile."""
        if (hides := any(alarm.machine.record.active for alarm in self._lost)) == self._is_hiding:
            return
        self._is_hiding = hides
        for alarm in self._alarms.values():
            if not hides or (alarm.machine.is_open and alarm not in self._lost):
                reason = "the device is lost" if hides else ""
                changes += alarm.machine.suppress(self._now, by_loss=hides, reason=reason)
        self._plan(self._alarms.values())
