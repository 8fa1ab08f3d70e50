"""Reads the tags of a device, as far as possible even when the device itself is wrong."""

from pydantic import BaseModel

from gateway.config.overlaps import overlaps
from gateway.config.schema import DeviceKeys, TagKeys
from gateway.drivers.driver import Driver, Tag
from nexus.config.block import Block
from nexus.config.derived import is_derived
from nexus.config.diagnostics import shown
from nexus.config.expressions import Kind, KnownTag
from nexus.config.location import SourceLocation, shown_name, without_wrong_keys
from nexus.contract import topic

_TOGETHER = {"on_change", "deadband", "max_silence", "writable", "min", "max"}
_FOR_NUMBERS = {"scale", "offset", "deadband", "min", "max"}


class Tags:
    """`settings` may be none, or lack keys that are wrong; then the tags are read only to report what is wrong.

    Once they are read, `known` has all names, of wrong and derived tags too, `locations` where they stand, and
    `derived` those of which the device knows nothing.
    """

    def __init__(
        self,
        device: SourceLocation,
        keys: DeviceKeys | None,
        driver: Driver | None,
        settings: BaseModel | None,
        *,
        is_whole: bool,
    ) -> None:
        self._device = device
        self._interval = keys.interval if keys else 1.0
        self._path = (keys.path or keys.name) if keys else shown_name(device.block)
        self._driver = driver
        self._settings = settings
        self._is_whole = is_whole
        self.known: dict[str, KnownTag] = {}
        self.locations: dict[str, SourceLocation] = {}
        self.derived: list[SourceLocation] = []

    def read(self, listed: object) -> list[Tag]:
        """The valid tags; the others are reported."""
        tags: list[Tag] = []
        blocks: dict[str, Block] = {}
        for raw in listed if isinstance(listed, list) else ():
            if not isinstance(raw, Block):
                self._device.fault("tags", f"{shown(raw)} is not a tag: write {{name: temperature, address: …}}")
            elif is_derived(raw):
                self.derived.append(self._location(raw))
                self._check_name(self.derived[-1], raw.get("name"))
            elif (tag := self._tag(raw)) is not None:
                tags.append(tag)
                blocks[tag.name] = raw
        self._warn_of_overlaps(tags, blocks)
        if self.derived and len(self.derived) == len(self.locations):
            self._device.fault("tags", "all of them are derived: at least one must have an address")
        return tags

    def _warn_of_overlaps(self, tags: list[Tag], blocks: dict[str, Block]) -> None:
        if self._driver is None:
            return
        extents = [(tag.name, extent) for tag in tags if (extent := self._driver.extent(tag.address)) is not None]
        for name, other, extent in overlaps(extents):
            location = self._location(blocks[name])
            place = f"{extent.space} {extent.start} to {extent.end - 1}, counted from 0"
            location.warn("address", f"overlaps tag {other} ({place}): is the address or the type wrong?")

    def _location(self, raw: Block) -> SourceLocation:
        return SourceLocation(self._device.diagnostics, raw, self._device.label, f", tag {shown_name(raw)}")

    def _tag(self, raw: Block) -> Tag | None:
        location = self._location(raw)
        found = location.checked(TagKeys, raw)
        self._check_name(location, raw.get("name"))
        # A wrong key of a tag does not hide a wrong address either.
        keys = found or without_wrong_keys(TagKeys, raw)
        if found is None and keys is not None:
            _check_contradiction(location, keys)
        if self._driver is None or self._settings is None or keys is None or "address" not in keys.model_fields_set:
            return None
        settings = _ordered(self._settings, keys, location)
        try:
            address = self._driver.parse_address(str(keys.address), settings, keys.writable)
        except ValueError as error:
            location.fault("address", f"address {shown(keys.address)}: {error}")
            return None
        except AttributeError:
            if self._is_whole:
                raise
            return None
        if found is None:
            return None
        _warn_of_useless_keys(found, location, is_number=self._driver.is_number(address))
        interval = found.interval or self._interval
        self.known[found.name] = KnownTag(_kind(self._driver, address), interval)
        return Tag(
            found.name,
            address,
            found.unit,
            found.scale,
            found.offset,
            interval,
            found.report,
            found.writable,
            found.min,
            found.max,
            found.address.strip(),
        )

    def _check_name(self, location: SourceLocation, name: object) -> None:
        if not isinstance(name, str):
            return  # reported already
        if fault := topic.name_fault(name):
            location.fault("name", f"the tag's name {fault}")
        location.check_seen("name", name)
        if name in self.known:
            location.fault("name", f"two tags are on the topic {topic.tag(self._path, name)}: rename one")
        self.known.setdefault(name, KnownTag())
        self.locations.setdefault(name, location)


def _kind(driver: Driver, address: object) -> Kind | None:
    """What kind of values a tag has, if the driver knows."""
    if (written := driver.type_of(address)) is None:
        return None
    if driver.is_number(address):
        return "number"
    return "boolean" if written.lower() == "bool" else "text"


def _check_contradiction(location: SourceLocation, keys: TagKeys) -> None:
    """Beside a wrong key; unless that is one of those that belong together."""
    wrong = location.block.keys() - keys.model_fields_set
    if wrong and not wrong & _TOGETHER and (said := keys.contradiction) is not None:
        location.fault(None, said)


def _warn_of_useless_keys(tag: TagKeys, location: SourceLocation, *, is_number: bool) -> None:
    if tag.on_change and tag.deadband is not None:
        location.warn("on_change", "deadband decides alone what is sent: leave on_change out")
    for key in () if is_number else sorted(_FOR_NUMBERS & tag.model_fields_set):
        remedy = "write `on_change: true` instead" if key == "deadband" else "leave it out"
        location.warn(key, f"{key} is for numbers, and this tag is none: {remedy}")


def _ordered(settings: BaseModel, tag: TagKeys, location: SourceLocation) -> BaseModel:
    """The device's settings with the tag's own word and byte order."""
    if not tag.orders:
        return settings
    for key in tag.orders.keys() - type(settings).model_fields.keys():
        location.fault(key, f"{key} is for Modbus: other protocols have one order only")
    return settings.model_copy(update=tag.orders)
