"""The operator's device files: read, completed by templates, and each device checked by its driver."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from gateway import device_files, drivers
from gateway.conflicts import refuse_impossible, refuse_twins
from gateway.device_files import Files
from gateway.driver import Device, Driver, Tag
from gateway.faults import Faults, closest, said, shown, unknown
from gateway.keys import BreakerKeys, DeviceKeys, TagKeys
from gateway.message import Outlet
from gateway.spot import Spot
from gateway.yaml_source import Block, Items, Reader, merged
from nexus.contract import topic
from nexus.runtime.errors import ConfigError

PREFIX = "DEVICE_"
MOST_TAGS = 1_000_000  # a template of thousands of tags, in thousands of devices, is a slip

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Configured:
    """A device that is ready to be polled."""

    device: Device
    driver: Driver
    breaker: BreakerKeys
    outlet: Outlet


@dataclass
class _Found:
    """What the files hold, before it is checked."""

    faults: Faults
    templates: dict[str, Block] = field(default_factory=dict)
    devices: list[Block] = field(default_factory=list)


def load(path: Path, environment: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> tuple[Configured, ...]:
    """Reads a device file, or a directory of them. Raises ConfigError with all that is wrong, a line each."""
    return read(path, environment, prefix)[1]


def read(
    path: Path, environment: Mapping[str, str] = os.environ, prefix: str = PREFIX
) -> tuple[Files, tuple[Configured, ...]]:
    """The files beside what they say. Raises ConfigError."""
    faults = Faults()
    files = device_files.read(path, faults)
    return files, build(files, environment, prefix, faults)


def build(
    files: Files, environment: Mapping[str, str] = os.environ, prefix: str = PREFIX, faults: Faults | None = None
) -> tuple[Configured, ...]:
    """The devices that the files describe. Raises ConfigError with all that is wrong, `faults` of before included."""
    faults = Faults() if faults is None else faults
    found = _Found(faults)
    reader = Reader(faults, environment, prefix)
    for file, data in files.items():
        before = len(faults)
        document = reader.read(file, data)
        if document is not None:
            _collect(found, file, document)
        elif len(faults) == before:
            faults.add(file, None, "is empty: it needs `devices:`, a list")
    devices = _devices(found)
    if not len(faults):
        whole = [(spot, one.device, one.driver) for spot, one in devices]
        refuse_twins(whole)
        refuse_impossible(whole)
    if not devices and not len(faults):
        faults.add(next(iter(files)), None, "no device is described here: add `devices:`, a list")
    if len(faults):
        raise ConfigError(str(faults))
    return tuple(configured for _, configured in devices)


def checked(kind: type[M], keys: Mapping[str, object]) -> M:
    """A driver's settings for a device that no file describes. Raises ConfigError."""
    try:
        return kind.model_validate(keys)
    except ValidationError as error:
        raise ConfigError("\n".join(message for _, message in said(error, kind))) from None


def _collect(found: _Found, file: Path, document: Any) -> None:
    if not isinstance(document, Block):
        found.faults.add(file, 1, "a device file is a mapping with `devices:` and, if wanted, `templates:`")
        return
    spot = Spot(found.faults, document, "device file")
    for key in document.keys() - {"devices", "templates"}:
        spot.fault(key, unknown(key, ("devices", "templates")))
    templates = document.get("templates") or {}
    if not isinstance(templates, dict):
        spot.fault("templates", "templates must be a mapping: name, then the keys that devices take from it")
        templates = {}
    for name, template in templates.items():
        if name in found.templates:
            spot.fault("templates", f"template {shown(name)} stands twice: rename one")
        elif not isinstance(template, Block):
            spot.fault("templates", f"template {shown(name)} must be a mapping of the keys that devices take from it")
        else:
            found.templates[name] = template
    devices = document.get("devices") or Items(document.line)
    if not isinstance(devices, Items):
        spot.fault("devices", "devices must be a list: each one starts with `- name:`")
        return
    for index, raw in enumerate(devices):
        if isinstance(raw, Block):
            found.devices.append(raw)
        else:
            found.faults.add(file, devices.lines[index], "a device is a mapping: name, protocol, tags and so on")


def _devices(found: _Found) -> list[tuple[Spot, Configured]]:
    made: list[tuple[Spot, Configured]] = []
    for raw in _affordable(found):
        spot = Spot(found.faults, raw, f"device {_name(raw)}")
        try:
            completed = _completed(spot, found.templates)
            if completed is None:
                continue
            device = _device(completed)
        except Exception as error:  # of a driver, or ours: it costs this one device
            spot.fault(None, f"cannot be checked: {error!r:.200}; this is a fault of the program, please report it")
            continue
        if device is not None:
            made.append((completed, device))
    return made


def _affordable(found: _Found) -> list[Block]:
    """The devices of files that do not have too many tags, or none if all together have."""
    tags: dict[Path, int] = {}
    for raw in found.devices:
        before = tags.get(raw.file, 0)
        tags[raw.file] = after = before + _tags_of(raw, found.templates)
        if before <= MOST_TAGS < after:
            found.faults.add(raw.file, raw.line, f"with this device the file has more than {MOST_TAGS:,} tags")
    if sum(count for count in tags.values() if count <= MOST_TAGS) > MOST_TAGS:
        found.faults.add(found.devices[-1].file, None, f"with this file there are more than {MOST_TAGS:,} tags")
        return []
    return [raw for raw in found.devices if tags[raw.file] <= MOST_TAGS]


def _tags_of(raw: Block, templates: Mapping[str, Block]) -> int:
    """So many at most."""
    name = raw.get("template")
    listed = [raw.get("tags"), templates[name].get("tags") if isinstance(name, str) and name in templates else None]
    return sum(len(tags) for tags in listed if isinstance(tags, list))


def _completed(spot: Spot, templates: Mapping[str, Block]) -> Spot | None:
    """The device's own keys over the template's; its tags join the template's, and replace those of the same name."""
    raw = spot.block
    if (name := raw.get("template")) is None:
        return spot
    if not isinstance(name, str) or name not in templates:
        known = ", ".join(templates) or "none"
        spot.fault("template", f"there is no template {shown(name)}; known: {known}")
        return None
    template = templates[name]
    whole = merged(template, raw)
    base, own = template.get("tags"), raw.get("tags")
    if isinstance(base, list) and isinstance(own, list):
        replaced = {tag["name"] for tag in own if isinstance(tag, dict) and isinstance(tag.get("name"), str)}
        kept = [tag for tag in base if not (isinstance(tag, dict) and _is_one_of(tag.get("name"), replaced))]
        whole["tags"] = kept + own
    return Spot(spot.faults, whole, spot.label)


def _is_one_of(name: object, names: set[str]) -> bool:
    return isinstance(name, str) and name in names


def _device(spot: Spot) -> Configured | None:
    raw = spot.block
    before = len(spot.faults)
    common = {key: value for key, value in raw.items() if key in DeviceKeys.model_fields}
    own = {key: value for key, value in raw.items() if key not in DeviceKeys.model_fields}
    keys = _checked(spot, DeviceKeys, common)
    if keys is not None:
        for key, name, is_path in (("name", keys.name, False), ("path", keys.path, True)):
            if name is not None and (fault := topic.name_fault(name, path=is_path or "/" in name)):
                spot.fault(key, f"{key} {shown(name)} {fault}")
    driver = _driver(spot, raw.get("protocol"))
    settings = None
    if driver is not None:
        settings = _checked(spot, driver.SETTINGS[raw["protocol"]], own, DeviceKeys.model_fields)
    # A fault of the device does not hide those of its tags.
    tags = _Tags(spot, keys, driver, settings).read(raw.get("tags"))
    if keys is None or driver is None or settings is None or len(spot.faults) > before:
        return None
    device = Device(keys.name, keys.path or keys.name, keys.protocol, keys.timeout, settings, tuple(tags))
    units = {tag.name: tag.unit for tag in tags if tag.unit}
    return Configured(device, driver, keys.breaker, Outlet(device.path, keys.publish, units))


def _driver(spot: Spot, protocol: object) -> Driver | None:
    if protocol is None:
        return None  # said already: the key is missing
    if not isinstance(protocol, str) or protocol not in drivers.FAMILIES:
        known = closest(protocol, drivers.FAMILIES) if isinstance(protocol, str) else closest("", drivers.FAMILIES)
        spot.fault("protocol", f"unknown protocol {shown(protocol)}{known}")
        return None
    return drivers.load(protocol)


class _Tags:
    """Reads the tags of a device, as far as they can be read beside the device's own faults."""

    def __init__(
        self, device: Spot, keys: DeviceKeys | None, driver: Driver | None, settings: BaseModel | None
    ) -> None:
        self._device = device
        self._interval = keys.interval if keys else 1.0
        self._path = (keys.path or keys.name) if keys else _name(device.block)
        self._driver = driver
        self._settings = settings
        self._names: set[str] = set()

    def read(self, listed: object) -> list[Tag]:
        tags: list[Tag] = []
        for raw in listed if isinstance(listed, list) else ():
            if not isinstance(raw, Block):
                self._device.fault("tags", f"{shown(raw)} is no tag: write it like {{name: temperature, address: …}}")
            elif (tag := self._tag(raw)) is not None:
                tags.append(tag)
        return tags

    def _tag(self, raw: Block) -> Tag | None:
        spot = Spot(self._device.faults, raw, f"{self._device.label}, tag {_name(raw)}")
        found = _checked(spot, TagKeys, raw)
        if found is None:
            return None
        name = found.name
        if fault := topic.name_fault(name):
            spot.fault("name", f"the tag's name {fault}")
        if name in self._names:
            spot.fault("name", f"two tags are on the topic {topic.tag(self._path, name)}: rename one")
        self._names.add(name)
        if self._driver is None or self._settings is None:
            return None
        try:
            address = self._driver.parse_address(found.address, self._settings)
        except ValueError as error:
            spot.fault("address", f"address {shown(found.address)}: {error}")
            return None
        interval = found.interval or self._interval
        limits = (found.writable, found.min, found.max)
        return Tag(name, address, found.unit, found.scale, found.offset, interval, found.report, *limits)


def _name(raw: Block) -> str:
    name = raw.get("name", "(no name)")
    return name if isinstance(name, str) and len(name) < 100 else shown(name)


def _checked(spot: Spot, kind: type[M], raw: dict[str, Any], beside: Iterable[str] = ()) -> M | None:
    """`raw` as a model, or None after its faults; keys of `beside` are offered as right spellings too."""
    wrong = [key for key, value in raw.items() if isinstance(value, bool) and not _takes_truth(kind, key)]
    for name in wrong:  # pydantic would take true for 1
        spot.fault(name, f"{name} must be a number, not true or false")
    try:
        found = kind.model_validate(raw)
        return None if wrong else found
    except ValidationError as error:
        for key, message in said(error, kind, beside):
            spot.fault(key, message)
        return None


@cache
def _takes_truth(kind: type[BaseModel], key: str) -> bool:
    known = kind.model_fields.get(key)
    # Of what is no number the model itself says so.
    return known is None or not {int, float}.intersection((known.annotation, *get_args(known.annotation)))
