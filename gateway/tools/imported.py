"""`nexus import`: tags of a CSV file, of `nexus export`, Kepware or anybody, as a device file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway import drivers
from gateway.config import devices as config
from gateway.config.schema import DeviceKeys
from gateway.config.variables import CONNECTING
from gateway.tools import kepware, sheet
from gateway.tools.sheet import Tag, number, plain, quoted, tag_name, truth
from nexus.config.diagnostics import Diagnostics
from nexus.process.errors import ConfigError

OF_DEVICE = "device."  # prefix of columns with a device's own keys, like device.host or device.breaker.failures
_NEEDED = {"name", "address"}
_TEXTS = ("unit", "word_order", "byte_order")

Rows = list[tuple[int, dict[str, str]]]


@dataclass
class _Device:
    """A device on its way into the file: its keys as YAML, nested as in the file, and the rows that they stand in."""

    row: int
    keys: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, tuple[int, str]] = field(default_factory=dict)
    tags: list[tuple[int, Tag]] = field(default_factory=list)


def imported(file: Path, device: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The lines of a device file, and what is not taken over.

    `device` gives name, protocol and host of a device that the file does not describe. Raises ConfigError with all that
    is wrong, what the device file would be refused for included.
    """
    found = _rows(file)
    columns = {column for _, row in found for column in row}
    is_kepware = "tag name" in columns
    if not is_kepware and not columns >= _NEEDED:
        raise ConfigError(
            f"{file}: needs the columns name and address, or those of Kepware's export (Tag Name, Address)"
        )
    diagnostics: list[str] = []
    remarks: list[str] = []
    if not is_kepware and (left := sorted(column for column in columns if column and not _is_known(column))):
        remarks.append(f"{file}: not taken over: {', '.join(left)}")
    devices: dict[str, _Device] = {}
    for at, row in found:
        try:
            one = _device(devices, at, row, device["name"])
            tag = kepware.tag(row, device["protocol"]) if is_kepware else _tag(row, is_exact="device" in row)
        except ValueError as error:
            diagnostics.append(f"{file}:{at}: {error}")
            continue
        one.tags.append((at, tag))
        remarks += [f"{file}:{at}: {remark}" for remark in tag.remarks]
    diagnostics += [f"{file}:{fault}" for one in devices.values() for fault in _fill(one, device)]
    lines, places = _written(devices)
    diagnostics += _refused("\n".join(lines), file, places)
    if diagnostics:
        raise ConfigError("\n".join(diagnostics))
    return lines, remarks


def _rows(file: Path) -> Rows:
    try:
        rows = list(sheet.rows(sheet.decoded(file.read_bytes())))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    if not rows:
        raise ConfigError(f"{file}: holds no rows below its header")
    return rows


def _is_known(column: str) -> bool:
    known = ("device", "name", "address", "type", "scale", "offset", "interval", "max_silence", "deadband", "on_change")
    return column in (*known, *_TEXTS, "writable", "min", "max") or column.startswith(OF_DEVICE)


def _device(devices: dict[str, _Device], at: int, row: Mapping[str, str], assumed: str) -> _Device:
    """The device that a row belongs to, with the keys that the row adds. Raises ValueError where rows disagree."""
    name = row.get("device") or assumed
    given = {column.removeprefix(OF_DEVICE): cell for column, cell in row.items() if column.startswith(OF_DEVICE)}
    one = devices.setdefault(name, _Device(at, {"name": quoted(name)}))
    for path, cell in given.items():
        if not cell:
            continue
        before, other = one.cells.setdefault(path, (at, cell))
        if other != cell:
            raise ValueError(f"{OF_DEVICE}{path} of {name} is {cell!r} here, and {other!r} in row {before}")
    return one


def _fill(one: _Device, assumed: Mapping[str, str]) -> Iterator[str]:
    """Fills the device's keys from its cells, or as `assumed`; returns what is wrong with them, each with its row."""
    if "protocol" not in one.cells:
        one.cells = {key: (one.row, assumed[key]) for key in ("protocol", "host")} | one.cells
    protocol = one.cells["protocol"][1]
    for path, (at, cell) in one.cells.items():
        keys, (*way, last) = one.keys, path.split(".")
        try:
            if not re.fullmatch(r"\w+(\.\w+)*", path):
                raise ValueError(f"the column {OF_DEVICE}{path} names no key")
            for step in way:
                keys = keys.setdefault(step, {})
                if not isinstance(keys, dict):
                    raise ValueError(f"{OF_DEVICE}{path} stands beside a column {OF_DEVICE}{step}: remove one")
            keys[last] = _device_key(protocol, path, cell)
        except ValueError as error:
            yield f"{at}: {error}"


def _device_key(protocol: str, path: str, cell: str) -> str:
    """A cell as YAML, by what the key takes; an unknown key is refused later, with its place."""
    field = _field(DeviceKeys, path) or _field(_settings(protocol), path)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    if bool in kinds:
        return truth(cell, OF_DEVICE + path)
    raw = path.rpartition(".")[2] in CONNECTING
    if any(kind in (str, Path) for kind in kinds):
        return quoted(cell, raw=raw)
    try:
        return number(cell, path)
    except ValueError:
        return quoted(cell, raw=raw)


def _settings(protocol: str) -> type[BaseModel] | None:
    return drivers.load(protocol).settings[protocol] if protocol in drivers.names() else None


def _field(model: type[BaseModel] | None, path: str) -> FieldInfo | None:
    found = None
    for step in path.split("."):
        found = None if model is None else model.model_fields.get(step)
        inner = () if found is None else (found.annotation, *get_args(found.annotation))
        model = next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return found


def _tag(row: Mapping[str, str], *, is_exact: bool) -> Tag:
    """A row of `nexus export`, whose names are taken as they are, or of anybody's name, address and so on."""
    if not row.get("name") or not row.get("address"):
        raise ValueError("name or address is missing")
    address = row["address"] + (f":{row['type']}" if row.get("type") else "")
    name = row["name"] if is_exact else tag_name(row["name"])
    keys = [("name", quoted(name)), ("address", quoted(address))]
    keys += [(key, quoted(row[key])) for key in _TEXTS if row.get(key)]
    keys += [(key, number(row[key], key)) for key in ("scale", "offset", "min", "max") if row.get(key)]
    keys += [(key, plain(row[key])) for key in ("interval", "deadband", "max_silence") if row.get(key)]
    return Tag(keys + [(key, truth(row[key], key)) for key in ("on_change", "writable") if row.get(key)])


def _written(devices: Mapping[str, _Device]) -> tuple[list[str], dict[int | None, int]]:
    """The lines of the device file, and the rows that they come from."""
    lines, places = ["devices:"], dict[int | None, int]()
    for one in devices.values():
        for number_of, (key, value) in enumerate(one.keys.items()):
            lines.append(f"  {'- ' if number_of == 0 else '  '}{key}: {_flow(value)}")
            places[len(lines)] = one.row
        lines.append("    tags:")
        for at, tag in one.tags:
            lines.append(tag.line)
            places[len(lines)] = at
    return lines, places


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"


def _refused(text: str, file: Path, places: Mapping[int | None, int]) -> list[str]:
    """What `nexus check` would report about the device file, by the rows that it comes from."""
    diagnostics = Diagnostics()
    with suppress(ConfigError):
        config.build({file: text.encode()}, file, diagnostics=diagnostics)
    found = [f"{file}{f':{places[one.line]}' if one.line in places else ''}: {one.message}" for one in diagnostics]
    return list(dict.fromkeys(found))
