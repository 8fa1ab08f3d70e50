"""`nexus import`: tags of a CSV file, Kepware's or a generic one, as a device file."""

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway import config
from gateway.faults import Faults
from nexus.runtime.errors import ConfigError

_KEPWARE_TYPES = {
    "boolean": "bool",
    "short": "int16",
    "word": "uint16",
    "long": "int32",
    "dword": "uint32",
    "llong": "int64",
    "qword": "uint64",
    "float": "float32",
    "double": "float64",
}
_KEPWARE_MODBUS = re.compile(r"([0134])(\d{4,5})(?:\.(\d+)([HL])?)?")
_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_KEPWARE_S7 = re.compile(r"DB(\d+)[.,](REAL|DINT|INT|DWORD|WORD|BYTE|CHAR|X|STRING)(\d+)(?:\.(\d+))?", re.IGNORECASE)
_GENERIC = {"name", "address"}
_NO = ("", "0", "false", "no")


def imported(file: Path, device: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The lines of a device file, and what is not taken over; `device` gives name, protocol and host.

    Raises ConfigError with all that is wrong, what the device file would be refused for included.
    """
    rows = _rows(file)
    columns = {column for _, row in rows for column in row}
    convert = _kepware if "tag name" in columns else _generic
    if convert is _generic and not columns >= _GENERIC:
        raise ConfigError(
            f"{file}: needs the columns name and address, or those of Kepware's export (Tag Name, Address)"
        )
    lines = ["devices:", f"  - name: {quoted(device['name'])}"]
    lines += [f"    {key}: {quoted(text)}" for key, text in device.items() if key != "name"]
    lines.append("    tags:")
    places: dict[int | None, int] = {}
    faults, remarks = [], []
    for number, row in rows:
        try:
            tag = convert(row, device["protocol"])
        except ValueError as error:
            faults.append(f"{file}:{number}: {error}")
            continue
        lines.append(tag.line)
        places[len(lines)] = number
        remarks += [f"{file}:{number}: {remark}" for remark in tag.remarks]
    faults += _refused("\n".join(lines), file, places)
    if faults:
        raise ConfigError("\n".join(faults))
    return lines, remarks


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with the numbers of their (last) lines; columns in lower case."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    if not rows:
        raise ConfigError(f"{file}: holds no rows below its header")
    return [
        (number, {(key or "").strip().lower(): cell.strip() for key, cell in row.items() if isinstance(cell, str)})
        for number, row in rows
    ]


def _refused(text: str, file: Path, places: Mapping[int | None, int]) -> list[str]:
    """What `nexus check` would say of the device file, by the rows that it comes from."""
    faults = Faults()
    with suppress(ConfigError):
        config.build({file: text.encode()}, {}, faults=faults)
    found = [f"{file}{f':{places[one.line]}' if one.line in places else ''}: {one.message}" for one in faults]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Tag:
    """A tag's keys as YAML, and what is not taken over."""

    keys: Sequence[tuple[str, str]]
    remarks: Sequence[str] = ()

    @property
    def line(self) -> str:
        inner = ", ".join(f"{key}: {text}" for key, text in self.keys)
        return f"      - {{{inner}}}" + "".join(f"  # {remark}" for remark in self.remarks)


def quoted(text: str) -> str:
    """A text as a device file takes it in any case."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'


def _generic(row: Mapping[str, str], _: str) -> _Tag:
    """name, address, and if they are there type, unit, scale, offset, interval."""
    if not row.get("name") or not row.get("address"):
        raise ValueError("name or address is missing")
    address = row["address"] + (f":{row['type']}" if row.get("type") else "")
    keys = [("name", quoted(tag_name(row["name"]))), ("address", quoted(address))]
    if row.get("unit"):
        keys.append(("unit", quoted(row["unit"])))
    keys += [(key, _number(row[key], key)) for key in ("scale", "offset") if row.get(key)]
    return _Tag(keys + [(key, _plain(row[key])) for key in ("interval", "deadband") if row.get(key)])


def _plain(text: str) -> str:
    """A number as such, and everything else as a text."""
    try:
        return _number(text, "")
    except ValueError:
        return quoted(text)


def _number(text: str, key: str) -> str:
    try:
        return f"{float(text):.12g}"
    except ValueError:
        raise ValueError(f"{key} {text!r} is no number") from None


def _kepware(row: Mapping[str, str], protocol: str) -> _Tag:
    name, address = row.get("tag name", ""), row.get("address", "")
    if not name or not address:
        raise ValueError("Tag Name or Address is missing")
    kind = row.get("data type", "").lower()
    turned = _s7_address(address) if protocol == "s7" else _modbus_address(address, kind)
    keys = [("name", quoted(tag_name(name))), ("address", quoted(turned))]
    remarks = []
    if unit := row.get("eng units"):
        keys.append(("unit", quoted(unit)))
    scaling = row.get("scaling", "").lower()
    if scaling == "linear":
        keys += _scaling(row)
        clamps = [one for one in ("clamp low", "clamp high") if row.get(one, "") not in _NO]
        remarks += [f"{one.title()} is not taken over: values beyond it are published" for one in clamps]
    elif scaling not in ("", "none"):
        remarks.append(f"{scaling.title()} scaling is not taken over: the value is the raw one")
    if (rate := row.get("scan rate", "")).isdigit() and int(rate) >= 100:
        keys.append(("interval", f"{int(rate)}ms"))
    only_read = turned.upper().startswith(("I", "E") if protocol == "s7" else ("INPUT:", "DISCRETE:"))
    if row.get("client access", "").upper() in ("R/W", "RW", "WO") and not only_read:
        keys.append(("writable", "true"))
    return _Tag(keys, remarks)


def _scaling(row: Mapping[str, str]) -> list[tuple[str, str]]:
    try:
        raw = float(row["raw high"]) - float(row["raw low"])
        scale = (float(row["scaled high"]) - float(row["scaled low"])) / raw
        offset = float(row["scaled low"]) - float(row["raw low"]) * scale
    except (KeyError, ValueError, ZeroDivisionError):
        raise ValueError("linear scaling needs Raw Low, Raw High, Scaled Low and Scaled High") from None
    if row.get("negate value", "") not in _NO:
        scale, offset = -scale, -offset
    return [("scale", f"{scale:.12g}")] + ([("offset", f"{offset:.12g}")] if offset else [])


def _modbus_address(address: str, kind: str) -> str:
    match = _KEPWARE_MODBUS.fullmatch(address.strip())
    if match is None:
        raise ValueError(f"address {address!r} is no Modbus address like 400001 or 400001.3")
    table, number = _TABLES[match[1]], match[1] + match[2]
    if table in ("coil", "discrete"):
        return f"{table}:{int(number)}:bool"
    if match[4] or kind == "string":
        return f"{table}:{number}:string({match[3] or 1})"
    if match[3] is not None:
        return f"{table}:{number}.{match[3]}:bool"
    if (turned := _KEPWARE_TYPES.get(kind)) is None or turned == "bool":
        raise ValueError(f"data type {kind!r} of a register is not read: one of {', '.join(_KEPWARE_TYPES)}")
    return f"{table}:{number}:{turned}"


def _s7_address(address: str) -> str:
    match = _KEPWARE_S7.fullmatch(address.strip())
    if match is None:
        return address  # M, I and Q are written as we read them
    block, kind, start, rest = match[1], match[2].upper(), match[3], match[4]
    if kind == "X":
        return f"DB{block}.DBX{start}.{rest or 0}:BOOL"
    if kind == "STRING":
        return f"DB{block}:{start}:STRING({rest or 254})"
    return f"DB{block}:{start}:{kind}"


def tag_name(text: str) -> str:
    """Names of tags are a level of a topic."""
    return re.sub(r"[/+#\s]+", "_", text.strip())
