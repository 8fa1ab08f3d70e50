"""Replays a device's history through its alarms, as if every alarm were acknowledged at once. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from gateway.config.devices import ConfiguredDevice
from nexus.alarms.definition import AlarmDefinition, Lost
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.machine import Change
from nexus.contract.ack import Action, Request
from nexus.contract.reading import Reading, Value
from nexus.readings.calculation import Calculation

PERIOD_MS = 600_000  # the period that EEMUA 191 counts by

_WHO = "nexus alarms try"


@dataclass
class Occurrence:
    """An occurrence of an alarm, until it is cleared; `end` is None while it lasts. Times in epoch ms.

    `calls` is false of one that was suppressed or shelved all the time.
    """

    definition: AlarmDefinition
    start: int
    value: Value
    limit: float | None
    end: int | None = None
    calls: bool = False


@dataclass
class Sum:
    """Totals over all occurrences of one alarm; times in ms, and `total` without what is after the last reading."""

    raised: int = 0
    hidden: int = 0
    longest: int = 0
    total: int = 0
    standing: int = 0


@dataclass
class Trial:
    """The trial of one device; `tags` are those whose history is needed, `first` and `last` its times in epoch ms."""

    configured: ConfiguredDevice
    sums: dict[tuple[str, str], Sum] = field(init=False)
    periods: Counter[int] = field(default_factory=Counter, init=False)  # alarms that call the operator, by ten minutes
    readings: int = field(default=0, init=False)
    first: int | None = field(default=None, init=False)
    last: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        # The history does not tell a lost device from one that was not polled.
        definitions = [one for one in self.configured.alarms if not isinstance(one.condition, Lost)]
        self.alarms = DeviceAlarms(definitions)
        self.sums = {(one.tag, one.name): Sum() for one in definitions}
        self._open: dict[tuple[str, str], Occurrence] = {}
        # Expressions are calculated again, and need no history; a total would start at 0.
        self._calculated = [one for one in self.configured.derived if one.kind == "expression"]
        self._calculation = Calculation(self._calculated, {})
        self.tags = self._needed()
        type_of = self.configured.driver.type_of
        self._booleans = {
            tag.name for tag in self.configured.device.tags if f"{type_of(tag.address)}".lower() == "bool"
        }

    def _needed(self) -> frozenset[str]:
        wanted = self.alarms.tags
        for derived in reversed(self._calculated):  # each comes after its inputs
            if derived.name in wanted:
                wanted = wanted - {derived.name} | derived.expression.names
        return wanted

    def replay(self, history: Iterable[Reading], end: int) -> Iterator[Occurrence]:
        """Yields the occurrences that call, as they end, for readings in order of time; last, those that still last."""
        for now, scan in groupby(history, lambda reading: reading.time):
            self.first, self.last = now if self.first is None else self.first, now
            yield from self._wait(now)
            readings = [self._as_read(reading) for reading in scan]
            self.readings += len(readings)
            readings += self._calculation.after(readings, now)
            yield from self._follow(self.alarms.read(readings, now))
        yield from self._wait(end)
        for occurrence in self._open.values():
            self._count(occurrence, end)
            if occurrence.calls:
                yield occurrence

    def _as_read(self, reading: Reading) -> Reading:
        """The reading as the device delivered it: the database stores booleans as numbers."""
        if reading.tag not in self._booleans or reading.value is None:
            return reading
        return Reading(reading.tag, reading.time, bool(reading.value), reading.quality)

    def _wait(self, now: int) -> Iterator[Occurrence]:
        """Carries out what happens until then by time alone."""
        while self.alarms.due is not None and self.alarms.due <= now:
            yield from self._follow(self.alarms.tick(self.alarms.due))

    def _follow(self, changes: list[Change]) -> Iterator[Occurrence]:
        for change in changes:
            definition, record = change.definition, change.record
            key = definition.tag, definition.name
            if record.active:
                begun = Occurrence(definition, record.ts, record.value, record.limit)
                occurrence = self._open.setdefault(key, begun)
                occurrence.calls = occurrence.calls or record.state == "unacknowledged"
            elif (ended := self._open.pop(key, None)) is not None:
                ended.end = record.ts
                self._count(ended, record.ts)
                if ended.calls:
                    yield ended
            if record.state in ("unacknowledged", "returned", "latched"):
                self._answer(key, record.ts)

    def _answer(self, key: tuple[str, str], now: int) -> None:
        """Acknowledges and resets as an operator would who watches all the time."""
        if not self.alarms.record(*key).acknowledged:
            self._ask(key, "acknowledge", now)
        if self.alarms.record(*key).latched:
            self._ask(key, "reset", now)

    def _ask(self, key: tuple[str, str], action: Action, now: int) -> None:
        self.alarms.ask(*key, Request(action, by=_WHO), now)

    def _count(self, occurrence: Occurrence, now: int) -> None:
        found = self.sums[occurrence.definition.tag, occurrence.definition.name]
        if not occurrence.calls:
            found.hidden += 1
            return
        found.raised += 1
        found.total += max(0, min(now, self.last) - occurrence.start)
        found.longest = max(found.longest, now - occurrence.start)
        found.standing += occurrence.end is None
        self.periods[occurrence.start // PERIOD_MS] += 1
