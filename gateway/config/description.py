"""A device as people are told of it: nothing of its settings but where it is. Pure."""

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import Tag
from nexus.contract.description import Description, TagDescription
from nexus.readings.definition import DerivedTag


def describe(one: ConfiguredDevice, group: str, gateway: str, now_ms: int) -> Description:
    """What to say of a device that the member `gateway` of `group` polls."""
    device, driver = one.device, one.driver
    return Description(
        device.name,
        device.path,
        device.protocol,
        gateway,
        driver.endpoint(device.settings),
        min(tag.interval for tag in device.tags),
        one.publish_options.publish,
        (*(_tag(tag, driver.type_of(tag.address)) for tag in device.tags), *map(_derived, one.derived)),
        now_ms,
        group=group,
    )


def _tag(tag: Tag, kind: str | None) -> TagDescription:
    return TagDescription(tag.name, tag.written, tag.unit, kind, tag.writable, tag.low, tag.high)


def _derived(tag: DerivedTag) -> TagDescription:
    """What it is calculated by stands where others have their address, in the words of its file."""
    return TagDescription(tag.name, f"{tag.kind}: {tag.expression.text}", tag.unit)
