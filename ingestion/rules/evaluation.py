"""One rule: what follows from its inputs, and how its alarms stand. Pure; times in epoch ms.

Its clock is the time of the newest input, and goes on with timers. It never goes back: what comes late is ignored, or
counts as if it came now, and rewrites nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, inf
from typing import Literal

import msgspec

from ingestion.rules.definition import Rule
from nexus.alarms.device import DeviceAlarms, Key
from nexus.alarms.machine import Change
from nexus.contract.ack import Request
from nexus.contract.alarm import Record
from nexus.contract.codec import DecodeError, carried
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.totals import Kept
from nexus.readings.calculation import Calculation
from nexus.readings.report import Changes
from nexus.readings.totals import SHORTEST_GAP_MS

LONGEST_TEXT = 32_768  # characters of an input; what is longer is bad: each tag that follows from it has it again
TOTALS_MS = 10_000  # after so long without an input totals go on by themselves
_MOST_TIMERS = 10_000  # that end one after the other before anything else is done

Ignored = Literal["older", "late", "ahead", "circle"]
Sample = tuple[int, Value, int]  # time, value, quality


class RuleState(msgspec.Struct):
    """What a rule goes on from: its clock, the newest of each input, what was made last of each tag, and totals."""

    clock: int = 0
    inputs: dict[str, Sample] = {}
    made: dict[str, Sample] = {}
    totals: dict[str, Kept] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RuleState)


def encode_state(kept: RuleState) -> bytes:
    """As the database has it."""
    return _encoder.encode(kept)


def decode_state(data: bytes) -> RuleState:
    """Reads it. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no state of a rule: {error}") from None


class Outcome(msgspec.Struct):
    """What came of something: readings to publish, and events of alarms, each in order."""

    readings: list[Reading] = []
    changes: list[Change] = []


class Evaluation:
    """Goes on from what was `kept`, and from the alarms' `records`.

    `ignored` counts inputs that were not evaluated, and `refused` says of which the last value was not, because of its
    time. `circles` are those that ever came round in one, and `hops` has how many rules their values came through.
    `errors` says which alarms, and `faults` which tags, have no result now, and why.
    """

    def __init__(self, rule: Rule, lateness_ms: int, kept: RuleState, records: Mapping[Key, Record]) -> None:
        self.rule, self.kept = rule, kept
        self.ignored: dict[Ignored, int] = {"older": 0, "late": 0, "ahead": 0, "circle": 0}
        self.refused: dict[str, str] = {}
        self.circles: set[str] = set()
        self.hops: dict[str, int] = {}  # by input
        self._lateness = lateness_ms
        names, tags = {one.name for one in rule.inputs}, {tag.name for tag in rule.derived}
        kept.inputs = {name: sample for name, sample in kept.inputs.items() if name in names}
        kept.made = {tag: sample for tag, sample in kept.made.items() if tag in tags}
        self._alarms = DeviceAlarms(rule.alarms, records)
        self._changes = Changes({tag.name: tag.report for tag in rule.derived if tag.report is not None})
        self._stale = {one.name: int(one.stale * 1000) for one in rule.inputs if one.stale is not None}
        self._longest_gap = max(SHORTEST_GAP_MS, *self._stale.values()) if self._stale else SHORTEST_GAP_MS
        self._calculation = self._calculated_anew()
        # When, by the clock: an input is stale, a tag has to be said again, a total goes on.
        self._ends = {name: kept.inputs[name][0] + stale for name, stale in self._stale.items() if name in kept.inputs}
        self._repeats: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._silences = {
            tag.name: ceil(tag.report.max_silence * 1000)
            for tag in rule.derived
            if tag.report is not None and tag.report.max_silence is not None
        }
        self._totals = frozenset(tag.name for tag in rule.derived if tag.kind in ("total", "runtime"))

    @property
    def errors(self) -> Mapping[Key, str]:
        return self._alarms.errors

    @property
    def faults(self) -> Mapping[str, str]:
        return self._calculation.faults

    @property
    def records(self) -> Mapping[Key, Record]:
        """How the alarms stand, by tag and name."""
        return self._alarms.records

    @property
    def due(self) -> int | None:
        """When something ends, or goes on, without an input."""
        times = self._end, *(min(dues.values(), default=None) for dues in (self._repeats, self._counts))
        return min((time for time in times if time is not None), default=None)

    @property
    def _end(self) -> int | None:
        """Likewise, of what ends at its own time; totals go on, and tags are said again, at any time."""
        times = min(self._ends.values(), default=None), self._alarms.due
        return min((time for time in times if time is not None), default=None)

    def begin(self, now: int) -> Outcome:
        """The first moment: goes on where it was left, and what follows from that."""
        kept = self.kept
        kept.clock = kept.clock or now
        self._set_back(now)
        silent = [name for name, end in self._ends.items() if end <= kept.clock]
        for name in silent:
            del self._ends[name]
        inputs = [Reading(name, *sample) for name, sample in kept.inputs.items() if name not in silent]
        inputs += [Reading(name, kept.inputs[name][0], None, Quality.BAD) for name in silent]
        made = [Reading(tag, *sample) for tag, sample in kept.made.items()]
        self._calculation.resume(_at(inputs, kept.clock), made)
        self._plan(made)
        self._repeats = {one.tag: one.time + self._silences[one.tag] for one in made if one.tag in self._silences}
        return Outcome([], self._alarms.tick(kept.clock) + self._alarms.read(inputs + made, kept.clock))

    def take(self, readings: Sequence[Reading], now: int, outcome: Outcome | None = None) -> Outcome:
        """Inputs that came together, by their names; `now` is the wall clock's time.

        Adds to an `outcome` that is given, so that a fault loses nothing of what came before it.
        """
        outcome = Outcome() if outcome is None else outcome
        self._set_back(now)
        usable = [_carried(reading) for reading in readings if self._is_usable(reading, now)]
        if not usable:
            return outcome
        newest = min(now, max(reading.time for reading in usable))
        self.tick(newest, outcome)
        self._advance(newest)
        for reading in usable:
            self.kept.inputs[reading.tag] = (reading.time, reading.value, reading.quality)
            if (stale := self._stale.get(reading.tag)) is not None:
                self._ends[reading.tag] = reading.time + stale
        self._evaluate(usable, outcome)
        return outcome

    def tick(self, now: int, outcome: Outcome | None = None) -> Outcome:
        """Ends what is due until then, each at its own time; totals go on. Adds to an `outcome`, as `take` does.

        What nobody evaluated is not made up: a total counts nothing of a long gap, and a tag is said again once.
        """
        outcome = Outcome() if outcome is None else outcome
        if self._totals and now - self.kept.clock > self._longest_gap:
            self._advance(now)  # timers that fall into it end now: their moments would take totals through it in steps
        for _ in range(_MOST_TIMERS):
            if (end := self._end) is None or end > now:
                if self.due is not None and self.due <= now:
                    self._advance(now)
                    self._go_on(outcome)
                break
            self._advance(end)
            self._go_on(outcome)
        return outcome

    def _go_on(self, outcome: Outcome) -> None:
        """Does what is due now; totals count until the moment from which an input is stale."""
        clock = self.kept.clock
        silent, repeated, counted = (_due(dues, clock) for dues in (self._ends, self._repeats, self._counts))
        if repeated or counted or (silent and self._totals):
            made = self._calculation.tick(repeated, clock)
            self._plan(made)
            self._note([], [one for one in made if one.tag in repeated or not self._is_as_before(one)], outcome)
        if silent:
            self._evaluate([Reading(name, clock, None, Quality.BAD) for name in silent], outcome)
        outcome.changes += self._alarms.tick(clock)

    def ask(self, tag: str, name: str, request: Request, now: int) -> Change:
        """Does what a person asks of an alarm, now or at the present time of the rule's clock. Raises RequestError."""
        return self._alarms.ask(tag, name, request, max(now, self.kept.clock))

    def refuse_circle(self, names: Iterable[str]) -> None:
        """These inputs have a value that follows from what this rule, or others, made of an earlier one."""
        found = list(names)
        self.ignored["circle"] += len(found)
        self.circles.update(found)

    def _is_usable(self, reading: Reading, now: int) -> bool:
        last = self.kept.inputs.get(reading.tag)
        if last is not None and reading.time <= last[0] <= now + self._lateness:
            self.ignored["older"] += 1
            if last[0] > now:
                ahead = (last[0] - now) / 1000
                self.refused[reading.tag] = f"its last one is {ahead:,.1f} s ahead of this machine's clock"
            return False
        behind, ahead = self.kept.clock - reading.time, reading.time - now
        if max(behind, ahead) <= self._lateness:
            self.refused.pop(reading.tag, None)
            return True
        self.ignored["late" if behind > ahead else "ahead"] += 1
        self.refused[reading.tag] = (
            f"{behind / 1000:,.0f} s older than the rule's newest input"
            if behind > ahead
            else f"{ahead / 1000:,.0f} s ahead of this machine's clock"
        )
        return False

    def _advance(self, time: int) -> None:
        self.kept.clock = max(self.kept.clock, time)

    def _set_back(self, now: int) -> None:
        """Our clock was ahead once, and was set right: waiting for that moment would take for ever."""
        kept = self.kept
        if kept.clock <= now + self._lateness:
            return
        kept.clock = now
        kept.made = {tag: (min(time, now), value, quality) for tag, (time, value, quality) in kept.made.items()}
        self._ends = {name: min(end, now + self._stale[name]) for name, end in self._ends.items()}
        self._repeats = {tag: min(due, now + self._silences[tag]) for tag, due in self._repeats.items()}
        self._counts = dict.fromkeys(self._counts, now)
        self._calculation = self._calculated_anew()
        inputs = [Reading(name, *sample) for name, sample in kept.inputs.items()]
        self._calculation.resume(_at(inputs, now), [Reading(tag, *sample) for tag, sample in kept.made.items()])

    def _calculated_anew(self) -> Calculation:
        """Totals count gaps of a minute, and those that are shorter than the longest `stale`."""
        third = self._longest_gap / 3000
        return Calculation([replace(tag, interval=third) for tag in self.rule.derived], self.kept.totals, inf)

    def _evaluate(self, readings: list[Reading], outcome: Outcome) -> None:
        clock = self.kept.clock
        self._note(readings, self._calculation.after(_at(readings, clock), clock), outcome)

    def _note(self, readings: list[Reading], made: list[Reading], outcome: Outcome) -> None:
        """What follows for alarms, and what of it is said."""
        outcome.changes += self._alarms.read(readings + made, self.kept.clock)
        self._plan(made)
        news = []
        for reading in map(_carried, made):
            sample = reading.time, reading.value, reading.quality
            if self.kept.made.get(reading.tag) != sample:
                self.kept.made[reading.tag] = sample
                news.append(reading)
        sent = self._changes.worth_sending(news)
        outcome.readings += sent
        for reading in sent:
            if (pause := self._silences.get(reading.tag)) is not None:
                self._repeats[reading.tag] = reading.time + pause

    def _plan(self, made: Sequence[Reading]) -> None:
        """When totals go on, if nothing comes."""
        for reading in made:
            if reading.tag in self._totals:
                self._counts[reading.tag] = self.kept.clock + TOTALS_MS

    def _is_as_before(self, reading: Reading) -> bool:
        last = self.kept.made.get(reading.tag)
        return last is not None and last[1:] == (reading.value, reading.quality)


def _at(readings: Iterable[Reading], time: int) -> list[Reading]:
    return [Reading(one.tag, time, one.value, one.quality) for one in readings]


def _due(dues: dict[str, int], now: int) -> list[str]:
    """Those that are due, which are not any more then."""
    found = [name for name, due in dues.items() if due <= now]
    for name in found:
        del dues[name]
    return found


def _carried(reading: Reading) -> Reading:
    value, quality = carried(reading.value, reading.quality)
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        value, quality = None, int(Quality.BAD)
    return Reading(reading.tag, reading.time, value, quality)
