"""The operator's device files: read, completed by templates, and each device checked by its driver."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway import drivers
from gateway.config import device_files, secret_files
from gateway.config.conflicts import refuse_doubles, refuse_impossible, refuse_twins
from gateway.config.device_files import Files
from gateway.config.schema import BreakerKeys, DeviceKeys, TagKeys
from gateway.config.secret_files import SecretFolders
from gateway.config.shared_tags import SharedTags
from gateway.config.tags import Tags
from gateway.config.templates import Templates
from gateway.config.variables import PREFIX, allowed
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, Driver
from nexus.alarms.definition import AlarmDefinition
from nexus.config.alarms import read_alarms
from nexus.config.block import Block, Items
from nexus.config.derived import read_derived
from nexus.config.diagnostics import Diagnostics, closest, messages_of, shown, unknown
from nexus.config.location import SourceLocation, shown_name, without_wrong_keys
from nexus.config.yaml_source import Reader
from nexus.contract import topic
from nexus.process.errors import ConfigError
from nexus.readings.definition import DerivedTag

MOST_TAGS = 2_500_000  # a template of thousands of tags in thousands of devices is a mistake

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class ConfiguredDevice:
    """A device that is ready to be polled, with the tags derived from its own, in the order in which they are
    calculated; `digest` is that of what its files say of it.
    """

    device: Device
    driver: Driver
    breaker: BreakerKeys
    publish_options: PublishOptions
    derived: tuple[DerivedTag, ...] = ()
    alarms: tuple[AlarmDefinition, ...] = ()
    digest: bytes = field(default=b"", compare=False)

    @property
    def tag_names(self) -> list[str]:
        """Of all tags that are published, derived ones last."""
        return [tag.name for tag in self.device.tags] + [tag.name for tag in self.derived]


@dataclass
class _Found:
    """The content of the files, before it is checked."""

    diagnostics: Diagnostics
    folders: SecretFolders
    templates: Templates = field(default_factory=Templates)
    devices: list[Block] = field(default_factory=list)
    tags: SharedTags = field(default_factory=SharedTags)


def load(path: Path, environment: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> tuple[ConfiguredDevice, ...]:
    """Reads a device file, or a directory of them. Raises ConfigError that lists every mistake, one a line."""
    return read(path, environment, prefix)[1]


def read(
    path: Path,
    environment: Mapping[str, str] = os.environ,
    prefix: str = PREFIX,
    diagnostics: Diagnostics | None = None,
) -> tuple[Files, tuple[ConfiguredDevice, ...]]:
    """The files and the devices in them; warnings are left in `diagnostics`. Raises ConfigError."""
    diagnostics = Diagnostics() if diagnostics is None else diagnostics
    files = device_files.read(path, diagnostics)
    return files, build(files, path, environment, prefix, diagnostics)


def build(
    files: Files,
    path: Path,
    environment: Mapping[str, str] = os.environ,
    prefix: str = PREFIX,
    diagnostics: Diagnostics | None = None,
) -> tuple[ConfiguredDevice, ...]:
    """The devices that the files at `path` describe.

    Raises ConfigError with all that is wrong, earlier diagnostics included.
    """
    diagnostics = Diagnostics() if diagnostics is None else diagnostics
    found = _Found(diagnostics, secret_files.folders(path, environment))
    reader = Reader(diagnostics, environment, allowed(prefix))
    for file, data in files.items():
        before = len(diagnostics)
        document = reader.read(file, data)
        if document is not None:
            _collect(found, file, document)
        elif len(diagnostics) == before:
            diagnostics.add(file, None, "is empty: it needs `devices:`, a list")
    devices = _devices(found)
    refuse_twins([(location, one.device, one.tag_names) for location, one in devices])
    refuse_impossible([(location, one.device, one.driver) for location, one in devices])
    if not devices and not len(diagnostics):
        diagnostics.add(next(iter(files)), None, "no device is described here: add `devices:`, a list")
    if len(diagnostics):
        raise ConfigError(str(diagnostics))
    return tuple(configured for _, configured in devices)


def described(files: Files, environment: Mapping[str, str] = os.environ, prefix: str = PREFIX) -> list[Block]:
    """Each device's keys, completed by its template; for files that `build` accepts."""
    found = _Found(Diagnostics(), secret_files.folders(next(iter(files)), environment))
    reader = Reader(found.diagnostics, environment, allowed(prefix))
    for file, data in files.items():
        if (document := reader.read(file, data)) is not None:
            _collect(found, file, document)
    locations = [found.templates.completed(SourceLocation(found.diagnostics, raw, "")) for raw in found.devices]
    return [location.block for location in locations if location is not None]


def checked(kind: type[M], keys: Mapping[str, object]) -> M:
    """A driver's settings for a device that no file describes. Raises ConfigError."""
    try:
        return kind.model_validate(keys)
    except ValidationError as error:
        raise ConfigError("\n".join(message for _, message in messages_of(error, kind))) from None


def _collect(found: _Found, file: Path, document: Any) -> None:
    if not isinstance(document, Block):
        found.diagnostics.add(file, 1, "a device file is a mapping with `devices:` and, if wanted, `templates:`")
        return
    location = SourceLocation(found.diagnostics, document, "device file")
    for key in document.keys() - {"devices", "templates"}:
        location.fault(key, unknown(key, ("devices", "templates")))
    found.templates.add(location, document.get("templates") or {})
    devices = document.get("devices") or Items(document.line)
    if not isinstance(devices, Items):
        location.fault("devices", "devices must be a list: each one starts with `- name:`")
        return
    for index, raw in enumerate(devices):
        if isinstance(raw, Block):
            found.devices.append(raw)
        else:
            found.diagnostics.add(file, devices.lines[index], "a device is a mapping: name, protocol, tags and so on")


def _devices(found: _Found) -> list[tuple[SourceLocation, ConfiguredDevice]]:
    made: list[tuple[SourceLocation, ConfiguredDevice]] = []
    locations: list[SourceLocation] = []
    for raw in _affordable(found):
        location = SourceLocation(found.diagnostics, raw, f"device {shown_name(raw)}")
        try:
            completed = found.templates.completed(location)
            locations.append(completed or location)
            if completed is None:
                continue
            device = _device(completed, found)
        except Exception as error:  # a fault of the driver, or ours, affects this device only
            location.fault(None, drivers.unchecked(raw.get("protocol"), error))
            continue
        if device is not None:
            made.append((completed, device))
    refuse_doubles(locations)
    found.templates.warn_of_unused()
    return made


def _affordable(found: _Found) -> list[Block]:
    """The devices of files that do not have too many tags, or none if all together have."""
    tags: dict[Path, int] = {}
    for raw in found.devices:
        before = tags.get(raw.file, 0)
        tags[raw.file] = after = before + found.templates.most_tags(raw)
        if before <= MOST_TAGS < after:
            found.diagnostics.add(raw.file, raw.line, f"with this device the file has more than {MOST_TAGS:,} tags")
    if sum(count for count in tags.values() if count <= MOST_TAGS) > MOST_TAGS:
        found.diagnostics.add(found.devices[-1].file, None, f"with this file there are more than {MOST_TAGS:,} tags")
        return []
    return [raw for raw in found.devices if tags[raw.file] <= MOST_TAGS]


def _device(location: SourceLocation, found: _Found) -> ConfiguredDevice | None:
    raw = location.block
    before = len(location.diagnostics)
    common = {key: value for key, value in raw.items() if key in DeviceKeys.model_fields}
    own = {key: value for key, value in raw.items() if key not in DeviceKeys.model_fields}
    keys = location.checked(DeviceKeys, common)
    _check_topic(location)
    driver = _driver(location, raw.get("protocol"))
    settings = assumed = None
    if driver is not None:
        model = driver.settings[raw["protocol"]]
        settings = location.checked(model, own, DeviceKeys.model_fields, found.folders)
        assumed = settings or without_wrong_keys(model, own)
    # Mistakes in the device's keys do not hide those in its tags.
    reader = Tags(location, keys, driver, assumed, is_whole=settings is not None)
    tags = reader.read(raw.get("tags"))
    derived = read_derived(reader.derived, reader.known, TagKeys.model_fields)
    alarms = read_alarms(location, reader.locations, reader.known)
    if keys is not None:
        names = [tag.name for tag in tags] + [tag.name for tag in derived]
        names += [f"{alarm.tag}/{alarm.name}" for alarm in alarms]
        _check_length(location, keys.path or keys.name, names)
    if keys is None or driver is None or settings is None or len(location.diagnostics) > before:
        return None
    device = Device(keys.name, keys.path or keys.name, keys.protocol, keys.timeout, settings, found.tags.of(tags))
    units = {tag.name: tag.unit for tag in tags if tag.unit} | {tag.name: tag.unit for tag in derived if tag.unit}
    options = PublishOptions(device.path, keys.publish, units)
    digest = blake2b(repr(raw).encode(), digest_size=16).digest()
    return ConfiguredDevice(
        device, driver, keys.breaker, options, found.tags.of(derived), found.tags.of(alarms), digest
    )


def _check_length(location: SourceLocation, path: str, names: Iterable[str]) -> None:
    """Of names below the device's path."""
    room = topic.LONGEST - len(topic.alarm(path, "", "").encode("utf-8", "surrogatepass"))
    for name in names:
        if len(name) * 4 > room and len(name.encode("utf-8", "surrogatepass")) > room:
            topics = f"the topics of {shown(name)} have more than {topic.LONGEST:,} bytes"
            location.fault(None, f"{topics}, more than the database takes: use a shorter name or path")


def _check_topic(location: SourceLocation) -> None:
    """Checks the device's name and path, whatever else is wrong with it."""
    for key in ("name", "path"):
        name = location.block.get(key)
        if not isinstance(name, str):
            continue
        if fault := topic.name_fault(name, path=key == "path" or "/" in name):
            location.fault(key, f"{key} {shown(name)} {fault}")
        else:
            location.check_seen(key, name)


def _driver(location: SourceLocation, protocol: object) -> Driver | None:
    if protocol is None:
        return None  # reported already: the key is missing
    if not isinstance(protocol, str) or protocol not in drivers.names():
        known = closest(protocol if isinstance(protocol, str) else "", drivers.names())
        location.fault("protocol", f"unknown protocol {shown(protocol)}{known}")
        return None
    try:
        return drivers.load(protocol)
    except ConfigError as error:
        location.fault("protocol", str(error))
        return None
