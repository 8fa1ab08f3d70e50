"""One rule: what follows from its inputs, and how its alarms stand. Pure; times in epoch ms.

Its clock is the time of the newest input, and goes on with timers. It never goes back: what comes late is ignored, or
counts as if it came now, and rewrites nothing.
"""

from collections.abc import Mapping, Sequence
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

_MOST_TIMERS = 10_000  # that end one after the other before anything else is done

Ignored = Literal["older", "late", "ahead"]
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

    `ignored` counts inputs that were not evaluated. `errors` says which alarms, and `faults` which tags, have no result
    now, and why.
    """

    def __init__(self, rule: Rule, lateness_ms: int, kept: RuleState, records: Mapping[Key, Record]) -> None:
        self.rule, self.kept = rule, kept
        self.ignored: dict[Ignored, int] = {"older": 0, "late": 0, "ahead": 0}
        self._lateness = lateness_ms
        names, tags = {one.name for one in rule.inputs}, {tag.name for tag in rule.derived}
        kept.inputs = {name: sample for name, sample in kept.inputs.items() if name in names}
        kept.made = {tag: sample for tag, sample in kept.made.items() if tag in tags}
        self._calculation = Calculation(rule.derived, kept.totals)
        self._alarms = DeviceAlarms(rule.alarms, records)
        self._changes = Changes({tag.name: tag.report for tag in rule.derived if tag.report is not None})
        self._stale = {one.name: int(one.stale * 1000) for one in rule.inputs if one.stale is not None}
        self._ends = {name: kept.inputs[name][0] + stale for name, stale in self._stale.items() if name in kept.inputs}

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
        """When something ends without an input."""
        ends = min(self._ends.values(), default=None)
        if ends is None or self._alarms.due is None:
            return self._alarms.due if ends is None else ends
        return min(ends, self._alarms.due)

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
        self._calculation.resume(inputs, made)
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
        """Ends what is due until then, each at its own time. Adds to an `outcome` that is given, as `take` does."""
        outcome = Outcome() if outcome is None else outcome
        for _ in range(_MOST_TIMERS):
            if (due := self.due) is None or due > now:
                break
            self._advance(due)
            silent = [name for name, end in self._ends.items() if end <= due]
            for name in silent:
                del self._ends[name]
            if silent:
                self._evaluate([Reading(name, due, None, Quality.BAD) for name in silent], outcome)
            else:
                outcome.changes += self._alarms.tick(self.kept.clock)
        return outcome

    def ask(self, tag: str, name: str, request: Request, now: int) -> Change:
        """Does what a person asks of an alarm, by the wall clock. Raises RequestError."""
        return self._alarms.ask(tag, name, request, max(now, self.kept.clock))

    def _is_usable(self, reading: Reading, now: int) -> bool:
        last = self.kept.inputs.get(reading.tag)
        if last is not None and reading.time <= last[0] <= now + self._lateness:
            why: Ignored = "older"
        elif reading.time < self.kept.clock - self._lateness:
            why = "late"
        elif reading.time > now + self._lateness:
            why = "ahead"
        else:
            return True
        self.ignored[why] += 1
        return False

    def _advance(self, time: int) -> None:
        self.kept.clock = max(self.kept.clock, time)

    def _set_back(self, now: int) -> None:
        """Our clock was ahead once, and was set right: waiting for that moment would take for ever."""
        if self.kept.clock > now + self._lateness:
            self.kept.clock = now

    def _evaluate(self, readings: list[Reading], outcome: Outcome) -> None:
        clock = self.kept.clock
        made = self._calculation.after(readings, clock)
        outcome.changes += self._alarms.read(readings + made, clock)
        news = []
        for reading in map(_carried, made):
            sample = reading.time, reading.value, reading.quality
            if self.kept.made.get(reading.tag) != sample:
                self.kept.made[reading.tag] = sample
                news.append(reading)
        outcome.readings += self._changes.worth_sending(news)


def _carried(reading: Reading) -> Reading:
    return Reading(reading.tag, reading.time, *carried(reading.value, reading.quality))
