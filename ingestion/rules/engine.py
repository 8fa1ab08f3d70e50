"""All rules: messages in, and what has to be stored and said out. Times in epoch ms.

Pure, except that a fault of one rule is contained: it costs neither the others, nor what came before it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from ingestion.rules.definition import Rule
from ingestion.rules.evaluation import Evaluation, Ignored, Outcome, RuleState, encode_state
from nexus.alarms.definition import AlarmDefinition
from nexus.alarms.machine import Change, after
from nexus.contract import alarm, codec, topic
from nexus.contract.ack import Request
from nexus.contract.alarm import AlarmMessage, Record
from nexus.contract.reading import Quality, Reading
from nexus.process import supervisor

MOST_HOPS = 4  # rules of other groups, one after the other: what has come through so many goes in a circle

Key = tuple[str, str]  # tag and name of an alarm


class Part(NamedTuple):
    """What a message has for one rule; `hops` are the rules that it has come through."""

    path: str
    readings: list[Reading]
    hops: int = 0


class Said(msgspec.Struct, frozen=True):
    """A message to publish, not numbered yet; one without a payload clears its topic."""

    topic: str
    payload: bytes
    retain: bool = False


class Update(msgspec.Struct):
    """What changed: rules' states by path, alarms' messages by topic (None: gone), and what is to be said, in order."""

    states: dict[str, bytes] = {}
    alarms: dict[str, bytes | None] = {}
    said: list[Said] = []

    def __bool__(self) -> bool:
        return bool(self.states or self.alarms or self.said)


class Engine:
    """Goes on from `kept` by path, and from the `alarms` as they were said last; those that are no more end."""

    def __init__(
        self, rules: Sequence[Rule], lateness_ms: int, kept: Mapping[str, RuleState], alarms: Sequence[AlarmMessage]
    ) -> None:
        self._update = Update()
        self._measured = self._size = 0  # messages of the update as far as they were counted; bytes of the update
        self._changed: set[str] = set()  # paths of rules whose state is to be stored
        self._sizes: dict[str, int] = {}  # of states, as they were stored last
        self._rules: dict[str, Evaluation] = {}
        self._inputs: dict[str, list[tuple[Evaluation, str, str]]] = {}  # by topic: tag in the message, or "", and name
        self._alarms: dict[str, AlarmMessage] = {}
        self._gone: list[AlarmMessage] = []
        definitions = {(rule.path, one.tag, one.name): (rule, one) for rule in rules for one in rule.alarms}
        records: dict[str, dict[Key, Record]] = {rule.path: {} for rule in rules}
        for message in alarms:
            if (found := definitions.get((message.device, message.tag, message.name))) is None:
                self._gone.append(message)
            else:
                self._alarms[message.topic] = _message(*found, message.record, message.event)
                records[message.device][message.tag, message.name] = message.record
        paths = {rule.path for rule in rules}
        self.former = sorted(kept.keys() - paths)
        self._left = [(path, kept[path]) for path in self.former if kept[path].clock]
        for rule in rules:
            kept_of_rule = kept.get(rule.path) or RuleState()
            self._add(rule, Evaluation(rule, lateness_ms, kept_of_rule, records[rule.path]))

    def _add(self, rule: Rule, evaluation: Evaluation) -> None:
        self._rules[rule.path] = evaluation
        for one in rule.inputs:
            self._inputs.setdefault(one.topic, []).append((evaluation, "", one.name))
            self._inputs.setdefault(one.device_topic, []).append((evaluation, one.tag, one.name))

    @property
    def filters(self) -> list[str]:
        """The topics of the inputs."""
        return sorted(self._inputs)

    @property
    def rules(self) -> list[Rule]:
        return [one.rule for one in self._rules.values()]

    @property
    def alarms(self) -> list[AlarmMessage]:
        """The last message of each alarm that was ever raised."""
        return list(self._alarms.values())

    @property
    def ignored(self) -> dict[Ignored, int]:
        """How many inputs were not evaluated, and why."""
        found: dict[Ignored, int] = {"older": 0, "late": 0, "ahead": 0, "circle": 0}
        for one in self._rules.values():
            for why, count in one.ignored.items():
                found[why] += count
        return found

    def problems(self, path: str) -> list[str]:
        """What of a rule has no result now."""
        one = self._rules[path]
        found = [f"tag {tag} has no result: {why}" for tag, why in one.faults.items()]
        for (tag, name), why in one.errors.items():
            found.append(f"alarm {f'{tag}/{name}' if tag else name} cannot be evaluated: {why}")
        return found

    def refused(self, path: str) -> list[str]:
        """Which inputs of a rule are not evaluated now, because of their times; or were not, because of a circle."""
        one = self._rules[path]
        topics = {each.name: each.topic for each in one.rule.inputs}
        return [
            f"input {name} is ignored, its last value is {why}: set the clock of what publishes {topics[name]}, or ours"
            for name, why in one.refused.items()
        ] + [
            f"input {name} came round in a circle: what publishes {topics[name]} takes what follows from it, through "
            "the rules of another group; take one of these inputs out, then restart"
            for name in sorted(one.circles)
        ]

    def begin(self, now: int) -> None:
        """The first moment."""
        for message in self._gone:
            self._remove(message, now)
        for one in self._rules.values():
            self._note(one, one.begin(now))
        for path, kept in self._left:  # else it would go on from that, were the rule to come back
            self._update.states[path] = encode_state(RuleState(totals=kept.totals))

    def is_input(self, name: str) -> bool:
        """Whether messages on this topic have inputs."""
        return name in self._inputs

    def parts(self, name: str, payload: bytes) -> list[Part]:
        """What a message has for each rule, to be taken one after the other. Raises DecodeError."""
        message = codec.decode(name, payload)
        values = message.values
        by_rule: dict[str, list[Reading]] = {}
        for one, tag, alias in self._inputs.get(name, ()):
            if tag in values:
                time = message.times.get(tag, message.time)
                quality = message.qualities.get(tag, Quality.GOOD)
                by_rule.setdefault(one.rule.path, []).append(Reading(alias, time, values[tag], quality))
        return [Part(path, readings, message.hops) for path, readings in by_rule.items()]

    def take(self, part: Part, now: int) -> None:
        """Evaluates it; a fault is contained."""
        one = self._rules[part.path]
        if part.hops >= MOST_HOPS:
            one.refuse_circle(reading.tag for reading in part.readings)
        else:
            one.hops |= {reading.tag: part.hops for reading in part.readings}
            supervisor.call("message", self._take, one, part, now)

    def _take(self, one: Evaluation, part: Part, now: int) -> None:
        outcome = Outcome()
        try:
            one.take(part.readings, now, outcome)
        finally:
            self._note(one, outcome)

    def due(self, now: int) -> list[str]:
        """Paths of the rules to `tick`."""
        return [path for path, one in self._rules.items() if (due := one.due) is not None and due <= now]

    def tick(self, path: str, now: int) -> None:
        """Ends what is due of a rule; a fault is contained."""
        supervisor.call("timer", self._tick, self._rules[path], now)

    def _tick(self, one: Evaluation, now: int) -> None:
        outcome = Outcome()
        try:
            one.tick(now, outcome)
        finally:
            self._note(one, outcome)

    def has(self, path: str, tag: str, name: str) -> bool:
        """Whether a request about this alarm is for us to answer: it is one of a rule's, or would be."""
        if (one := self._rules.get(path)) is None:
            return False
        return not tag or tag in {derived.name for derived in one.rule.derived} or (tag, name) in one.records

    def ask(self, path: str, tag: str, name: str, request: Request, now: int) -> Record:
        """Does what a person asks of an alarm. Raises RequestError."""
        one = self._rules[path]
        change = one.ask(tag, name, request, now)
        self._note(one, Outcome([], [change]))
        return change.record

    def say(self, said: Said) -> None:
        """Something more to be said with what is stored."""
        self._update.said.append(said)

    @property
    def pending(self) -> tuple[int, int]:
        """How many messages wait for `drain`, and about how many bytes of them and of states."""
        said = self._update.said
        self._size += sum(len(one.payload) for one in said[self._measured :])
        self._measured = len(said)
        return self._measured, self._size

    def drain(self) -> Update:
        """What has changed since the last time."""
        update, self._update = self._update, Update()
        self._measured = self._size = 0
        states = {path: encode_state(self._rules[path].kept) for path in self._changed}
        self._sizes |= {path: len(state) for path, state in states.items()}
        self._changed.clear()
        update.states |= states
        return update

    def _note(self, one: Evaluation, outcome: Outcome) -> None:
        rule, said = one.rule, self._update.said
        hops = 1 + max(one.hops.values(), default=0)  # also of what is said again: in a circle it would begin anew
        if rule.path not in self._changed:
            self._changed.add(rule.path)
            self._size += self._sizes.get(rule.path, 0)
        units = rule.units if outcome.readings else {}
        for reading in outcome.readings:
            payload = codec.encode_tag(reading, units.get(reading.tag), hops=hops)
            said.append(Said(topic.tag(rule.path, reading.tag), payload))
        for change in outcome.changes:
            self._keep(rule, change)

    def _keep(self, rule: Rule, change: Change) -> None:
        message = _message(rule, change.definition, change.record, change.event)
        payload = alarm.encode(message)
        self._alarms[message.topic] = message
        self._update.alarms[message.topic] = payload
        self._update.said.append(Said(message.topic, payload, retain=True))

    def _remove(self, message: AlarmMessage, now: int) -> None:
        """An alarm has left the files: an occurrence that is open ends, and the broker retains nothing any more."""
        if message.record.state != "normal":
            at = after(message.record.ts, now)
            reason = "not in the rule files any more"
            record = Record(occurrence=message.record.occurrence, since=at, ts=at, reason=reason)
            gone = msgspec.structs.replace(message, record=record, event="removed")
            self._update.said.append(Said(message.topic, alarm.encode(gone)))
        self._update.said.append(Said(message.topic, b"", retain=True))
        self._update.alarms[message.topic] = None


def _message(rule: Rule, definition: AlarmDefinition, record: Record, event: alarm.Event) -> AlarmMessage:
    return AlarmMessage(
        rule.path,
        definition.tag,
        definition.name,
        record,
        event,
        definition.priority,
        definition.text,
        definition.response,
        rule.units.get(definition.tag),
    )
