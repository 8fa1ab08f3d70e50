"""The fixed limits of alarms, for descriptions. Pure."""

from collections import defaultdict
from collections.abc import Iterable

from nexus.alarms.definition import Above, AlarmDefinition, Below, Outside
from nexus.contract.description import AlarmLimit


def limits(alarms: Iterable[AlarmDefinition]) -> defaultdict[str, list[AlarmLimit]]:
    """By tag; a limit that is the value of another tag is left out."""
    found: defaultdict[str, list[AlarmLimit]] = defaultdict(list)
    for one in alarms:
        match one.condition:
            case Above(limit) | Below(limit):
                fixed = [limit]
            case Outside(low, high):
                fixed = [low, high]
            case _:
                continue
        found[one.tag] += [AlarmLimit(one.name, limit, one.priority) for limit in fixed if not isinstance(limit, str)]
    return found
