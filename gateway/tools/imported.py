"""`nexus import`: tags of a CSV file, Kepware's or a generic one, as a device file."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from nexus.runtime.errors import ConfigError

_KEPWARE_TYPES = {
    "boolean": "bool",
    "short": "int16",
    "word": "uint16",
    "bcd": "uint16",
    "long": "int32",
    "dword": "uint32",
    "lbcd": "uint32",
    "llong": "int64",
    "qword": "uint64",
    "float": "float32",
    "double": "float64",
}
_KEPWARE_MODBUS = re.compile(r"([0134])(\d{4,5})(?:\.(\d+)([HL])?)?")
_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_KEPWARE_S7 = re.compile(r"DB(\d+)[.,](REAL|DINT|INT|DWORD|WORD|BYTE|CHAR|X|STRING)(\d+)(?:\.(\d+))?", re.IGNORECASE)
_GENERIC = {"name", "address"}


def imported(file: Path, device: Mapping[str, str]) -> list[str]:
    """The lines of a device file; `device` gives name, protocol and host. Raises ConfigError with all that is wrong."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    if not rows:
        raise ConfigError(f"{file}: holds no rows below its header")
    columns = {column.strip().lower() for column in rows[0] if column}
    convert = _kepware if "tag name" in columns else _generic
    if convert is _generic and not columns >= _GENERIC:
        raise ConfigError(
            f"{file}: needs the columns name and address, or those of Kepware's export (Tag Name, Address)"
        )
    tags, faults = [], []
    for number, row in enumerate(rows, 2):
        cells = {
            (key or "").strip().lower(): (cell or "").strip() for key, cell in row.items() if isinstance(cell, str)
        }
        try:
            tags.append(_tag(convert(cells, device["protocol"])))
        except ValueError as error:
            faults.append(f"{file}:{number}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    head = ["devices:", f"  - name: {device['name']}"]
    keys = [f"    {key}: {text}" for key, text in device.items() if key != "name"]
    return [*head, *keys, "    tags:", *tags]


def _tag(keys: Iterable[tuple[str, str]]) -> str:
    inner = ", ".join(f"{key}: {text}" for key, text in keys)
    return f"      - {{{inner}}}"


def quoted(text: str) -> str:
    """A text as YAML takes it in any case."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _generic(row: Mapping[str, str], _: str) -> list[tuple[str, str]]:
    """name, address, and if they are there type, unit, scale, offset, interval."""
    if not row.get("name") or not row.get("address"):
        raise ValueError("name or address is missing")
    address = row["address"] + (f":{row['type']}" if row.get("type") else "")
    keys = [("name", quoted(tag_name(row["name"]))), ("address", quoted(address))]
    if row.get("unit"):
        keys.append(("unit", quoted(row["unit"])))
    return keys + [(key, row[key]) for key in ("scale", "offset", "interval", "deadband") if row.get(key)]


def _kepware(row: Mapping[str, str], protocol: str) -> list[tuple[str, str]]:
    name, address = row.get("tag name", ""), row.get("address", "")
    if not name or not address:
        raise ValueError("Tag Name or Address is missing")
    kind = row.get("data type", "").lower()
    turned = _s7_address(address) if protocol == "s7" else _modbus_address(address, kind)
    keys = [("name", quoted(tag_name(name))), ("address", quoted(turned))]
    if unit := row.get("eng units"):
        keys.append(("unit", quoted(unit)))
    if row.get("scaling", "").lower() == "linear":
        keys += _scaling(row)
    if (rate := row.get("scan rate", "")).isdigit() and int(rate) >= 100:
        keys.append(("interval", f"{rate}ms"))
    if row.get("client access", "").upper() in ("R/W", "RW", "WO"):
        keys.append(("writable", "true"))
    return keys


def _scaling(row: Mapping[str, str]) -> list[tuple[str, str]]:
    try:
        raw = float(row["raw high"]) - float(row["raw low"])
        scale = (float(row["scaled high"]) - float(row["scaled low"])) / raw
        offset = float(row["scaled low"]) - float(row["raw low"]) * scale
    except (KeyError, ValueError, ZeroDivisionError):
        raise ValueError("linear scaling needs Raw Low, Raw High, Scaled Low and Scaled High") from None
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
