"""The alarms of a device and of its tags, checked against the tags that exist."""

import re
from collections.abc import Mapping, Sequence

from nexus.alarms import definition
from nexus.alarms.definition import AlarmDefinition, Condition, Limit
from nexus.alarms.expression import Expression
from nexus.config.alarm_keys import CONDITIONS, OF_DEVICES, AlarmKeys
from nexus.config.block import Block
from nexus.config.diagnostics import closest, shown
from nexus.config.expressions import KnownTag, read_expression, refuse_torn
from nexus.config.location import SourceLocation, WrongKeyError, reported, shown_name
from nexus.contract import topic
from nexus.contract.reading import Value

_OF_NUMBERS = ("above", "below", "outside", "rate")
_WITHOUT_DEADBAND = ("equals", "stale", "bad", "when", "lost")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_BARE: dict[str, Condition] = {
    "changed": definition.Changed(),
    "bad": definition.Bad(),
    "lost": definition.Lost(),
}
_OF_TAGS = tuple(key for key in CONDITIONS if key != "lost")


def read_alarms(
    device: SourceLocation,
    tags: Mapping[str, SourceLocation],
    known: Mapping[str, KnownTag],
    own_conditions: Sequence[str] = OF_DEVICES,
) -> list[AlarmDefinition]:
    """The valid alarms of a device and of its tags, of which there are `known`; the others are reported.

    `own_conditions` are those of alarms of the device's own.
    """
    reader = _Alarms(known, own_conditions)
    found = reader.read(device, "")
    for name, location in tags.items():
        found += reader.read(location, name)
    if reader.count > definition.MOST_ALARMS:
        device.fault(None, f"has more than {definition.MOST_ALARMS:,} alarms: nobody could answer them")
    return found


class _Alarms:
    """Reads the alarms of one device, and counts them."""

    def __init__(self, known: Mapping[str, KnownTag], own_conditions: Sequence[str]) -> None:
        self._known, self._own_conditions = known, own_conditions
        self.count = 0

    def read(self, owner: SourceLocation, tag: str) -> list[AlarmDefinition]:
        """The valid alarms of a tag, or with "" the device's own; the others are reported."""
        listed = owner.block.get("alarms")
        names: set[str] = set()
        found: list[AlarmDefinition] = []
        for raw in listed if isinstance(listed, list) else ():
            self.count += 1
            if self.count > definition.MOST_ALARMS:
                break
            if not isinstance(raw, Block):
                owner.fault("alarms", f"{shown(raw)} is not an alarm: write it like {{name: high, above: 80}}")
            elif (one := self._alarm(owner, tag, raw, names)) is not None:
                found.append(one)
        return found

    def _alarm(self, owner: SourceLocation, tag: str, raw: Block, names: set[str]) -> AlarmDefinition | None:
        part = f"{owner.part}, alarm {shown_name(raw)}"
        location = SourceLocation(owner.diagnostics, raw, owner.label, part)
        _check_name(location, names)
        keys = reported(location, _keys, location)
        if keys is None:
            return None
        judge = _Judge(tag, self._known, self._own_conditions)
        condition = reported(location, judge.condition, keys)
        suppressed_by = reported(location, judge.suppressed_by, keys.suppressed_by)
        if condition is None:
            return None
        return AlarmDefinition(
            keys.name,
            tag,
            condition,
            keys.deadband,
            keys.on_delay,
            keys.off_delay,
            keys.priority,
            keys.text,
            keys.response,
            suppressed_by,
            keys.latched,
            keys.realarm,
            keys.auto_shelve,
        )


class _Judge:
    """Checks one alarm, of `tag`, or with "" of the device."""

    def __init__(self, tag: str, known: Mapping[str, KnownTag], own_conditions: Sequence[str]) -> None:
        self._tag, self._known = tag, known
        self._allowed = _OF_TAGS if tag else own_conditions

    def suppressed_by(self, text: str | None) -> Expression | None:
        return None if text is None else self._expression("suppressed_by", text)

    def condition(self, keys: AlarmKeys) -> Condition:
        """The one condition. Raises WrongKeyError."""
        given = keys.conditions
        if not given:
            raise WrongKeyError(None, f"has no condition: write one of {', '.join(self._allowed)}")
        if len(given) > 1:
            raise WrongKeyError(given[1], f"has the conditions {' and '.join(given)}: write an alarm for each")
        [key] = given
        if key not in self._allowed:
            if key == "lost" and not self._tag:
                raise WrongKeyError(key, "lost is for devices, which can be away: leave it out")
            right = "a device, beside its tags" if self._tag else "a tag"
            raise WrongKeyError(key, f"{key} is a condition for alarms of {right}: write it there")
        if keys.on_delay and key == "changed":
            raise WrongKeyError("on_delay", "a change is over at once, so with on_delay it never calls: leave it out")
        if keys.over is not None and key != "rate":
            raise WrongKeyError("over", "over is for rate: leave it out")
        if keys.deadband and key in _WITHOUT_DEADBAND:
            raise WrongKeyError("deadband", f"deadband means nothing to {key}: leave it out")
        if key in _OF_NUMBERS and self._kind in ("text", "boolean"):
            remedy = "equals: true" if self._kind == "boolean" else 'equals: "RUN"'
            raise WrongKeyError(key, f"{key} is for numbers, and this tag is a {self._kind}: write it like `{remedy}`")
        return self._made(key, keys)

    def _made(self, key: str, keys: AlarmKeys) -> Condition:
        match key:
            case "above":
                made: Condition = definition.Above(self._limit(key, keys.above))
            case "below":
                made = definition.Below(self._limit(key, keys.below))
            case "outside":
                made = self._outside(keys)
            case "equals":
                made = self._equals(keys.equals)
            case "rate":
                made = self._rate(keys.rate, keys.over)
            case "unchanged" if keys.unchanged is not None:
                made = definition.Unchanged(keys.unchanged)
            case "stale" if keys.stale is not None:
                made = self._stale(keys.stale)
            case "when" if keys.when is not None:
                made = definition.When(self._expression("when", keys.when))
            case _:
                made = _BARE[key]
        return made

    def _expression(self, key: str, text: str) -> Expression:
        return read_expression(key, text, self._known, is_condition=True)

    @property
    def _kind(self) -> str | None:
        known = self._known.get(self._tag)
        return None if known is None else known.kind

    def _outside(self, keys: AlarmKeys) -> Condition:
        low, high = (self._limit("outside", limit) for limit in keys.outside)
        if not isinstance(low, str) and not isinstance(high, str):
            if low >= high:
                raise WrongKeyError("outside", "the first limit must be less than the second")
            if keys.deadband * 2 > high - low:
                raise WrongKeyError("deadband", "with more than half of what is between the limits it never clears")
        return definition.Outside(low, high)

    def _equals(self, value: Value) -> Condition:
        is_text, is_boolean = isinstance(value, str), isinstance(value, bool)
        fits = {
            "text": is_text,
            "boolean": is_boolean or (not is_text and value in (0, 1)),
            "number": not is_text and not is_boolean,
        }
        if self._kind is not None and not fits[self._kind]:
            raise WrongKeyError("equals", f"{shown(value)} can never be: this tag is a {self._kind}")
        return definition.Equals(value)

    def _rate(self, limit: float | None, over: float | None) -> Condition:
        if limit is None or over is None:
            raise WrongKeyError("rate", "rate needs `over`, like 10s: the time over which the change is looked at")
        return definition.Rate(limit, over)

    def _stale(self, seconds: float) -> Condition:
        interval = self._known[self._tag].interval if self._tag in self._known else None
        if interval is not None and seconds <= interval:
            raise WrongKeyError("stale", f"must be longer than the tag's interval, {interval:g} s: write twice as long")
        return definition.Stale(seconds)

    def _limit(self, key: str, limit: Limit) -> Limit:
        """A number, or a tag that is one. Raises WrongKeyError."""
        if not isinstance(limit, str):
            return limit
        if limit == self._tag:
            raise WrongKeyError(key, "the tag cannot be its own limit")
        if limit not in self._known:
            if _NUMBER.fullmatch(limit):
                raise WrongKeyError(key, f"a number has no quotes: write {key}: {limit}")
            raise WrongKeyError(key, f"there is no tag {shown(limit)} here{closest(limit, self._known)}")
        if (kind := self._known[limit].kind) in ("text", "boolean"):
            raise WrongKeyError(key, f"a limit is a number, and tag {limit} is a {kind}")
        return limit


def _keys(location: SourceLocation) -> AlarmKeys | None:
    refuse_torn(location.block)
    return location.checked(AlarmKeys, location.block)


def _check_name(location: SourceLocation, names: set[str]) -> None:
    name = location.block.get("name")
    if not isinstance(name, str):
        return  # reported elsewhere
    if fault := topic.name_fault(name):
        location.fault("name", f"the alarm's name {fault}")
    location.check_seen("name", name)
    if name in names:
        location.fault("name", "name already used by another alarm here: rename one")
    names.add(name)
