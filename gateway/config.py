"""The operator's device files: read, completed by templates, and each device checked by its driver."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway import drivers
from gateway.driver import Device, Driver, Tag
from gateway.keys import BreakerKeys, DeviceKeys, TagKeys
from gateway.message import Outlet
from gateway.yaml_source import Reader
from nexus.contract import topic
from nexus.runtime.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Configured:
    """A device that is ready to be polled."""

    device: Device
    driver: Driver
    breaker: BreakerKeys
    outlet: Outlet


@dataclass(frozen=True)
class _Spot:
    """Where in the files, and in which device and tag, something is being checked."""

    reader: Reader
    raw: dict[str, Any]
    label: str

    def fault(self, key: str | None, message: str) -> None:
        place = self.reader.place(self.raw)
        self.reader.fault(place.file, place.of(key), f"{self.label}: {message}")


def load(path: Path, environment: Mapping[str, str] | None = None) -> tuple[Configured, ...]:
    """Reads a device file, or a directory of them. Raises ConfigError with all that is wrong, a line each."""
    reader = Reader() if environment is None else Reader(environment)
    documents = [(file, reader.read(file)) for file in _files(path)]
    templates: dict[str, Any] = {}
    listed: list[Any] = []
    for file, document in documents:
        if document is not None:
            _collect(reader, file, document, templates, listed)
        elif not reader.faults:
            reader.fault(file, None, "is empty: it needs `devices:`, a list")
    devices = [found for raw in listed if (found := _device(reader, raw, templates)) is not None]
    _refuse_twins(reader, devices)
    _refuse_impossible(devices)
    if not reader.faults and not devices:
        reader.fault(path, None, "no device is described here: add `devices:`, a list")
    if reader.faults:
        raise ConfigError("\n".join(map(str, reader.faults)))
    return tuple(configured for _, configured in devices)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.name[0] != ".")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not files:
        raise ConfigError(f"{path}: this directory holds no .yaml file")
    return files


def _collect(reader: Reader, file: Path, document: Any, templates: dict[str, Any], listed: list[Any]) -> None:
    if not isinstance(document, dict):
        reader.fault(file, 1, "a device file is a mapping with `devices:` and, if wanted, `templates:`")
        return
    spot = _Spot(reader, document, "device file")
    for key in document.keys() - {"devices", "templates"}:
        spot.fault(key, _unknown(key, ("devices", "templates")))
    found = document.get("templates") or {}
    if not isinstance(found, dict):
        spot.fault("templates", "templates must be a mapping: name, then the keys that devices take from it")
        found = {}
    for name, template in found.items():
        if name in templates:
            spot.fault("templates", f"template {name!r} stands twice: rename one")
        elif not isinstance(template, dict):
            spot.fault("templates", f"template {name!r} must be a mapping of the keys that devices take from it")
        else:
            templates[name] = template
    devices = document.get("devices") or []
    if not isinstance(devices, list):
        spot.fault("devices", "devices must be a list: each one starts with `- name:`")
        return
    for index, raw in enumerate(devices):
        if isinstance(raw, dict):
            listed.append(raw)
        else:
            line = reader.place(devices).of(index)
            reader.fault(file, line, "a device is a mapping: name, protocol, tags and so on")


def _device(reader: Reader, raw: dict[str, Any], templates: Mapping[str, Any]) -> tuple[_Spot, Configured] | None:
    label = f"device {raw.get('name', '(no name)')}"
    if (name := raw.get("template")) is not None:
        if not isinstance(name, str) or name not in templates:
            known = ", ".join(templates) or "none"
            _Spot(reader, raw, label).fault("template", f"there is no template {name!r}; known: {known}")
            return None
        raw = _completed(reader, templates[name], raw)
    spot = _Spot(reader, raw, label)
    common = {key: value for key, value in raw.items() if key in DeviceKeys.model_fields}
    own = {key: value for key, value in raw.items() if key not in DeviceKeys.model_fields}
    before = len(reader.faults)
    keys = _checked(spot, DeviceKeys, common)
    if keys is not None:
        for key, name, is_path in (("name", keys.name, False), ("path", keys.path, True)):
            if name is not None and (fault := topic.name_fault(name, path=is_path or "/" in name)):
                spot.fault(key, f"{key} {name!r} {fault}")
    driver = _driver(spot, raw.get("protocol"))
    settings = _checked(spot, driver.SETTINGS[raw["protocol"]], own, DeviceKeys) if driver is not None else None
    if keys is None or driver is None:
        return None
    tags = _tags(spot, keys, driver, settings)
    if settings is None or len(reader.faults) > before:
        return None
    device = Device(keys.name, keys.path or keys.name, keys.protocol, keys.timeout, settings, tuple(tags))
    units = {tag.name: tag.unit for tag in tags if tag.unit}
    return spot, Configured(device, driver, keys.breaker, Outlet(device.path, keys.publish, units))


def _completed(reader: Reader, template: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """The device's own keys over the template's; its tags join the template's, and replace those of the same name."""
    merged = reader.merge(template, raw)
    base, own = template.get("tags"), raw.get("tags")
    if isinstance(base, list) and isinstance(own, list):
        replaced = {tag.get("name") for tag in own if isinstance(tag, dict)}
        merged["tags"] = [tag for tag in base if not isinstance(tag, dict) or tag.get("name") not in replaced] + own
    return merged


def _driver(spot: _Spot, protocol: object) -> Driver | None:
    if protocol is None:
        return None  # said already: the key is missing
    if protocol not in drivers.FAMILIES:
        spot.fault("protocol", f"unknown protocol {protocol!r}{_closest(protocol, drivers.FAMILIES)}")
        return None
    return drivers.load(str(protocol))


def _tags(device: _Spot, keys: DeviceKeys, driver: Driver, settings: BaseModel | None) -> list[Tag]:
    tags: list[Tag] = []
    names: set[str] = set()
    for raw in keys.tags:
        if not isinstance(raw, dict):
            device.fault("tags", f"{raw!r} is no tag: write it like {{name: temperature, address: …}}")
            continue
        spot = _Spot(device.reader, raw, f"{device.label}, tag {raw.get('name', '(no name)')}")
        found = _checked(spot, TagKeys, raw)
        if found is None:
            continue
        if fault := topic.name_fault(found.name):
            spot.fault("name", f"the tag's name {fault}")
        if found.name in names:
            spot.fault("name", f"two tags are on the topic {topic.tag(keys.path or keys.name, found.name)}: rename one")
        names.add(found.name)
        if settings is None:
            continue
        try:
            address = driver.parse_address(found.address, settings)
        except ValueError as error:
            spot.fault("address", f"address {found.address!r}: {error}")
            continue
        interval = found.interval or keys.interval
        limits = (found.writable, found.min, found.max)
        tags.append(Tag(found.name, address, found.unit, found.scale, found.offset, interval, found.report, *limits))
    return tags


def _refuse_twins(reader: Reader, devices: list[tuple[_Spot, Configured]]) -> None:
    names: dict[str, _Spot] = {}
    paths: dict[str, Device] = {}
    for spot, configured in devices:
        device = configured.device
        if device.name in names:
            other = reader.place(names[device.name].raw)
            spot.fault("name", f"the name stands at {other.file}:{other.line} already: rename one")
        elif device.path in paths:
            spot.fault("path", f"path {device.path!r} is also that of device {paths[device.path].name}: change one")
        names.setdefault(device.name, spot)
        paths.setdefault(device.path, device)
    for spot, configured in devices:
        for tag in configured.device.tags:
            if (twin := paths.get(f"{configured.device.path}/{tag.name}")) is not None:
                spot.fault("tags", f"tag {tag.name} has the topic of device {twin.name}: rename the tag or that path")


def _refuse_impossible(devices: list[tuple[_Spot, Configured]]) -> None:
    """Where the time of the requests is known, it must fit into the interval."""
    load: dict[str, float] = {}
    for spot, configured in devices:
        device, driver = configured.device, configured.driver
        needed = sum((request.seconds or 0) / request.interval for request in driver.requests(device))
        line = driver.bus(device.settings)
        before = load.get(line or device.name, 0.0)
        load[line or device.name] = before + needed
        if before <= 1 < before + needed:
            where = f"on {line}, with the devices before it, " if line else ""
            spot.fault(
                "interval",
                f"its requests take {before + needed:.1f} times as long as the interval {where}allows: "
                "read less often, or less (`nexus plan` shows each request)",
            )


def _checked(spot: _Spot, kind: type[M], raw: dict[str, Any], beside: type[BaseModel] | None = None) -> M | None:
    """`raw` as a model, or None after its faults; keys of `beside` are offered as right spellings too."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        known = [*kind.model_fields, *(beside.model_fields if beside else ())]
        for fault in error.errors(include_url=False):
            where = [str(part) for part in fault["loc"]]
            key = where[0] if where else None
            spot.fault(key, _said(fault["type"], where, str(fault["msg"]), known))
        return None


def _said(kind: str, where: list[str], message: str, known: list[str]) -> str:
    key = ".".join(where)
    text = message.removeprefix("Value error, ")
    if not where:
        return text
    if kind == "extra_forbidden":
        return _unknown(key, known if len(where) == 1 else BreakerKeys.model_fields)
    if kind == "missing":
        return f"key {key!r} is missing"
    return f"{key}: {text[0].lower()}{text[1:]}"


def _unknown(key: str, known: Iterable[str]) -> str:
    return f"unknown key {key!r}{_closest(key.rpartition('.')[2], known)}"


def _closest(word: object, known: Iterable[str]) -> str:
    known = list(known)
    close = get_close_matches(str(word), known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
