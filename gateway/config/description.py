"""A device as people are told of it: nothing of its settings but where it is. Pure."""

from collections import defaultdict
from collections.abc import Sequence

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import Tag
from nexus.alarms.definition import Above, AlarmDefinition, Below, Outside
from nexus.contract.description import AlarmLimit, Description, TagDescription
from nexus.readings.definition import DerivedTag


def describe(one: ConfiguredDevice, group: str, gateway: str, now_ms: int) -> Description:
    """What to say of a device that the member `gateway` of `group` polls."""
    device, driver = one.device, one.driver
    limits = _limits(one.alarms)
    return Description(
        device.name,
        device.path,
        device.protocol,
        gateway,
        driver.endpoint(device.settings),
        min(tag.interval for tag in device.tags),
        one.publish_options.publish,
        (
            *(_tag(tag, driver.type_of(tag.address), limits[tag.name]) for tag in device.tags),
            *(_derived(tag, limits[tag.name]) for tag in one.derived),
        ),
        now_ms,
        group=group,
    )


def _tag(tag: Tag, kind: str | None, alarms: Sequence[AlarmLimit]) -> TagDescription:
    return TagDescription(tag.name, tag.written, tag.unit, kind, tag.writable, tag.low, tag.high, tuple(alarms))


def _derived(tag: DerivedTag, alarms: Sequence[AlarmLimit]) -> TagDescription:
    """What it is calculated by stands where others have their address, in the words of its file."""
    return TagDescription(tag.name, f"{tag.kind}: {tag.expression.text}", tag.unit, alarms=tuple(alarms))


def _limits(alarms: Sequence[AlarmDefinition]) -> defaultdict[str, list[AlarmLimit]]:
    """By tag; a limit that is the value of another tag is none that could be told."""
    found: defaultdict[str, list[AlarmLimit]] = defaultdict(list)
    for one in alarms:
        match one.condition:
            case Above(limit) | Below(limit):
                limits = [limit]
            case Outside(low, high):
                limits = [low, high]
            case _:
                continue
        found[one.tag] += [AlarmLimit(one.name, limit, one.priority) for limit in limits if not isinstance(limit, str)]
    return found
