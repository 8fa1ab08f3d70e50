"""One alarm of a device: a machine, and what moves it. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from nexus.alarms.condition import LostDevice, Truth
from nexus.alarms.expression import FAULTS
from nexus.alarms.functions import Run
from nexus.alarms.look import LARGEST, NOWHERE, Band, Evaluator, Look, Quick, TagState
from nexus.alarms.machine import Change, Machine
from nexus.contract.alarm import LONGEST_TEXT
from nexus.contract.reading import Reading, Value

_LARGEST = float(LARGEST)


class Alarm:
    """`names` are the tags whose values it needs, beside its own tag's readings; `error` is why it has no result."""

    __slots__ = ("_resting", "error", "evaluator", "machine", "names", "suppressed_by", "tag")

    def __init__(self, machine: Machine, tag: TagState, source: Evaluator) -> None:
        by = machine.definition.suppressed_by
        self.machine = machine
        self.tag = tag
        self.evaluator = source
        self.suppressed_by = Truth(by) if by is not None else None
        self.names = source.names | (self.suppressed_by.names if self.suppressed_by else frozenset())
        self.error = ""
        # What its expressions give while nothing changes for it; None if it has to be looked at.
        self._resting: tuple[tuple[Run, bool], ...] | None = None

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

    def rest(self) -> None:
        """It was looked at: notes what its expressions give while nothing changes, unless more than that matters."""
        machine, source = self.machine, self.evaluator
        self._resting = None
        if machine.is_delayed or self.error:
            return
        truths = [] if self.suppressed_by is None else [(self.suppressed_by.expression.run, machine.by_design)]
        if isinstance(source, Truth):
            truths.append((source.expression.run, machine.record.active))
        elif source.names:
            return
        self._resting = tuple(truths)

    def wake(self) -> None:
        """It has to be looked at, whatever its expressions give."""
        self._resting = None

    def rests(self, values: Mapping[str, Value]) -> bool:
        """Whether these change nothing."""
        if self._resting is None:
            return False
        try:
            for run, truth in self._resting:
                if run(values) is not truth:
                    return False
        except FAULTS:
            return False
        return True

    def due(self, jumped: int, is_lost: bool) -> int | None:
        """When to look again without a reading."""
        own, others = self.machine.due, self.evaluator.due
        if is_lost or others is None:
            return own
        return others + jumped if own is None else min(own, others + jumped)

    @property
    def quick(self) -> Quick | None:
        """What takes a number in place of a look, while it is not active and waits for nothing."""
        machine = self.machine
        return None if machine.record.active or machine.is_delayed else self.evaluator.quick

    @property
    def band(self) -> Band:
        """Where its tag's value changes nothing."""
        if self.tag.number is None:
            return NOWHERE
        return self.evaluator.bands[self.machine.record.active]


def set_band(tag: TagState, alarms: Iterable[Alarm], others: Quick | None) -> None:
    """Where the tag's value changes nothing for its own alarms, or is taken quickly; `others` are told of it."""
    tag.each = False
    low, high = (-_LARGEST, _LARGEST) if tag.number is not None else NOWHERE
    found: list[Quick] = []
    for alarm in alarms:
        if alarm.tag is tag:
            tag.each = tag.each or alarm.evaluator.each
            if (quick := alarm.quick) is not None:
                found.append(quick)
            else:
                least, most = alarm.band
                low, high = max(low, least), min(high, most)
    if others is not None:
        found.append(others)  # last: what another takes for more may be looked at all the same
    tag.low, tag.high = low, high
    tag.quick = _in_turn(found) if len(found) > 1 else found[0] if found else None


def _in_turn(found: Sequence[Quick]) -> Quick:
    """Several, up to the first after which more follows."""

    def take(value: float, reading: Reading, now: int) -> bool:
        return all(quick(value, reading, now) for quick in found)

    return take
