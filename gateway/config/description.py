"""The description of a device for people: of its settings, only where it is. Pure."""

from collections import defaultdict
from collections.abc import Sequence

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import Tag
from nexus.alarms.definition import Above, AlarmDefinition, Below, Outside
from nexus.contract.description import AlarmLimit, Description, TagDescription
from nexus.readings.definition import DerivedTag


def describe(one: ConfiguredDevice, group: str, gateway: str, now_ms: int) -> Description:
    """The description of a device that the member `gateway` of `group` polls."""
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
    """Its expression or total, as written in its file, takes the place of the address."""
    return TagDescription(tag.name, f"{tag.kind}: {tag.expression.text}", tag.unit, alarms=tuple(alarms))


def _limits(alarms: Sequence[AlarmDefinition]) -> defaultdict[str, list[AlarmLimit]]:
    """Fixed limits by tag; a limit that is the value of another tag is left out."""
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
