"""The description of a device for people: of its settings, only where it is. Pure."""

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import Tag
from nexus.alarms.limits import Limits, limits
from nexus.contract.description import Description, TagDescription
from nexus.readings.definition import DerivedTag


def describe(one: ConfiguredDevice, group: str, gateway: str, now_ms: int) -> Description:
    """The description of a device that the member `gateway` of `group` polls."""
    device, driver = one.device, one.driver
    found = limits(one.alarms)
    return Description(
        device.name,
        device.path,
        device.protocol,
        gateway,
        driver.endpoint(device.settings),
        min(tag.interval for tag in device.tags),
        one.publish_options.publish,
        (
            *(_tag(tag, driver.type_of(tag.address), found[tag.name]) for tag in device.tags),
            *(_derived(tag, found[tag.name]) for tag in one.derived),
        ),
        now_ms,
        group=group,
    )


def _tag(tag: Tag, kind: str | None, alarms: Limits) -> TagDescription:
    return TagDescription(
        tag.name, tag.written, tag.unit, kind, tag.writable, tag.low, tag.high, tuple(alarms.fixed), tuple(alarms.tags)
    )


def _derived(tag: DerivedTag, alarms: Limits) -> TagDescription:
    """Its expression or total, as written in its file, takes the place of the address."""
    written = f"{tag.kind}: {tag.expression.text}"
    return TagDescription(tag.name, written, tag.unit, alarms=tuple(alarms.fixed), limit_tags=tuple(alarms.tags))
