"""The limits of alarms, for descriptions. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from nexus.alarms.definition import Above, AlarmDefinition, Below, Limit, Outside
from nexus.contract.description import AlarmLimit, AlarmLimitTag


@dataclass
class Limits:
    """Of a tag's alarms: `fixed` ones, and those that are the values of other tags."""

    fixed: list[AlarmLimit] = field(default_factory=list)
    tags: list[AlarmLimitTag] = field(default_factory=list)

    def add(self, alarm: AlarmDefinition, limit: Limit) -> None:
        """A number, or the name of a tag."""
        if isinstance(limit, str):
            self.tags.append(AlarmLimitTag(alarm.name, limit, alarm.priority))
        else:
            self.fixed.append(AlarmLimit(alarm.name, limit, alarm.priority))


def limits(alarms: Iterable[AlarmDefinition]) -> defaultdict[str, Limits]:
    """By tag."""
    found: defaultdict[str, Limits] = defaultdict(Limits)
    for one in alarms:
        match one.condition:
            case Above(limit) | Below(limit):
                found[one.tag].add(one, limit)
            case Outside(low, high):
                found[one.tag].add(one, low)
                found[one.tag].add(one, high)
    return found
