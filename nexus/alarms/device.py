"""All alarms of one device: pure, the clock an argument; times in epoch ms.

A value that changes nothing costs one look: each tag has a band within which none of its alarms has to be looked at.
"""

from collections.abc import Collection, Iterable, Mapping

from nexus.alarms.condition import LostDevice, Truth, evaluator
from nexus.alarms.definition import AlarmDefinition, Lost
from nexus.alarms.look import EVERYWHERE, NOWHERE, UNCERTAIN, Band, Evaluator, Look, TagState
from nexus.alarms.machine import Change, Machine, RequestError
from nexus.contract.ack import Request
from nexus.contract.alarm import LONGEST_TEXT, Record
from nexus.contract.reading import Reading, Value

Key = tuple[str, str]  # tag, name

JUMP_MS = 1000  # the clock was set back, if by as much


class _Alarm:
    """A machine, and what moves it."""

    __slots__ = ("error", "evaluator", "machine", "suppressed_by", "tag")

    def __init__(self, machine: Machine, tag: TagState, source: Evaluator) -> None:
        by = machine.definition.suppressed_by
        self.machine = machine
        self.tag = tag
        self.evaluator = source
        self.suppressed_by = Truth(by) if by is not None else None
        self.error = ""

    def names(self) -> frozenset[str]:
        """The tags whose values it needs, beside its own tag's readings."""
        return self.evaluator.names | (self.suppressed_by.names if self.suppressed_by else frozenset())

    def look(self, look: Look, now: int) -> list[Change]:
        """Suppressed first: what stops a pump may stop its flow in the same scan."""
        machine, source = self.machine, self.evaluator
        changes = machine.tick(now)
        if look.loss is not None and not isinstance(source, LostDevice):
            return changes
        self.tag.catch_up()
        look.tag, look.active = self.tag, machine.record.active
        self.error = ""
        if (truth := self.suppressed_by) is not None:
            is_true = truth.holds(look)
            self.error = truth.error
            if is_true is not None:
                changes += machine.suppress(
                    now, by_design=is_true, reason=truth.expression.text[:LONGEST_TEXT] if is_true else ""
                )
        holds = source.holds(look)
        self.error = self.error or source.error
        return changes + machine.settle(holds, now, self.tag.value, source.limit, look.loss or "")

    def due(self, jumped: int, is_lost: bool) -> int | None:
        """When to look again without a reading."""
        own, others = self.machine.due, self.evaluator.due
        if is_lost or others is None:
            return own
        return others + jumped if own is None else min(own, others + jumped)

    def band(self) -> Band:
        """Where its tag's value changes nothing."""
        if self.tag.number is None:
            return NOWHERE
        return self.evaluator.bands[self.machine.record.active]


class DeviceAlarms:
    """`records` are what is known from before, by tag and name; `due` is when to `tick` at the latest.

    `errors` has what cannot be evaluated now, and why, by tag and name.
    """

    def __init__(self, definitions: Iterable[AlarmDefinition], records: Mapping[Key, Record] | None = None) -> None:
        self.due: int | None = None
        self.errors: dict[Key, str] = {}
        self._now = 0
        self._jumped = 0  # of the clock, in all
        self._alarms: dict[Key, _Alarm] = {}
        self._tags: dict[str, TagState] = {}
        self._of_tag: dict[str, list[_Alarm]] = {}  # those to look at when its value changes
        self._named: set[str] = set()  # tags of which each value counts, because a limit or an expression names them
        self._values: dict[str, Value] = {}  # of these
        self._to_look_at: dict[_Alarm, None] = {}
        self._noted: list[TagState] = []
        self._glance = Look(TagState(), self._values, False, 0)
        self._dues: dict[_Alarm, int] = {}
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
        tag = self._tags.setdefault(definition.tag, TagState()) if own else TagState()
        alarm = self._alarms[definition.tag, definition.name] = _Alarm(
            Machine(definition, record, is_lost=was_lost), tag, source
        )
        named = alarm.names()
        for name in named.union(own):
            self._tags.setdefault(name, TagState())
            self._of_tag.setdefault(name, []).append(alarm)
        self._named |= named.union(own) if source.names else named

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
            value = reading.value
            if type(value) is float and tag.low <= value <= tag.high and reading.quality >= UNCERTAIN:
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
            if isinstance(reading.value, int) and tag.low <= reading.value <= tag.high:
                tag.latest = reading
                return
        last = tag.reading
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
        if reading.tag in self._named:
            if tag.value is not None:
                self._values[reading.tag] = tag.value
            else:
                self._values.pop(reading.tag, None)
        for alarm in self._of_tag[reading.tag]:
            self._to_look_at[alarm] = None

    def _look_at(self, alarms: Iterable[_Alarm], changes: list[Change]) -> None:
        self._to_look_at.update(dict.fromkeys(alarms))
        self._look(changes)

    def _look(self, changes: list[Change]) -> None:
        """Looks at the alarms that something may have changed for."""
        alarms, self._to_look_at = self._to_look_at, {}
        look = self._glance
        look.now, look.loss = self._now - self._jumped, self._loss
        for alarm in alarms:
            changes += alarm.look(look, self._now)
            if alarm.error or self.errors:
                self._tell(alarm)
        for tag in self._noted:
            tag.noted = False
        self._noted.clear()
        self._plan(alarms)
        if self._lost or self._is_hiding:
            self._hide(changes)

    def _tell(self, alarm: _Alarm) -> None:
        """Why it cannot be evaluated."""
        key = alarm.machine.definition.tag, alarm.machine.definition.name
        if alarm.error:
            self.errors[key] = alarm.error
        else:
            self.errors.pop(key, None)

    def _plan(self, alarms: Collection[_Alarm]) -> None:
        """When to look at them again, and which values of their tags have to be looked at."""
        dues, jumped, is_lost = self._dues, self._jumped, self._loss is not None
        for alarm in alarms:
            if (due := alarm.due(jumped, is_lost)) is not None:
                dues[alarm] = due
            elif dues:
                dues.pop(alarm, None)
        self.due = min(dues.values()) if dues else None
        for name in {alarm.machine.definition.tag for alarm in alarms}:
            if name:
                self._set_band(name, self._tags[name])

    def _set_band(self, name: str, tag: TagState) -> None:
        """Where the tag's value changes nothing for any of its alarms."""
        tag.each = False
        low, high = NOWHERE if name in self._named else EVERYWHERE
        for alarm in self._of_tag[name]:
            if alarm.tag is tag:
                tag.each = tag.each or alarm.evaluator.each
                least, most = alarm.band()
                low, high = max(low, least), min(high, most)
        tag.low, tag.high = low, high

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
