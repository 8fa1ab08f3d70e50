"""The columns of Kepware's export, as a tag's keys."""

import re
from collections.abc import Mapping

from gateway.tools.sheet import NO, Tag, quoted, tag_name

_TYPES = {
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
_MODBUS = re.compile(r"([0134])(\d{4,5})(?:\.(\d+)([HL])?)?")
_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_S7 = re.compile(r"DB(\d+)[.,](REAL|DINT|INT|DWORD|WORD|BYTE|CHAR|X|STRING)(\d+)(?:\.(\d+))?", re.IGNORECASE)


def tag(row: Mapping[str, str], protocol: str) -> Tag:
    """Raises ValueError for a row that cannot be taken."""
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
        clamps = [one for one in ("clamp low", "clamp high") if row.get(one, "") not in NO]
        remarks += [f"{one.title()} is not taken over: values beyond it are published" for one in clamps]
    elif scaling not in ("", "none"):
        remarks.append(f"{scaling.title()} scaling is not taken over: the value is the raw one")
    if (rate := row.get("scan rate", "")).isdigit() and int(rate) >= 100:
        keys.append(("interval", f"{int(rate)}ms"))
    only_read = turned.upper().startswith(("I", "E") if protocol == "s7" else ("INPUT:", "DISCRETE:"))
    if row.get("client access", "").upper() in ("R/W", "RW", "WO") and not only_read:
        keys.append(("writable", "true"))
    return Tag(keys, remarks)


def _scaling(row: Mapping[str, str]) -> list[tuple[str, str]]:
    try:
        raw = float(row["raw high"]) - float(row["raw low"])
        scale = (float(row["scaled high"]) - float(row["scaled low"])) / raw
        offset = float(row["scaled low"]) - float(row["raw low"]) * scale
    except (KeyError, ValueError, ZeroDivisionError):
        raise ValueError("linear scaling needs Raw Low, Raw High, Scaled Low and Scaled High") from None
    if row.get("negate value", "") not in NO:
        scale, offset = -scale, -offset
    return [("scale", f"{scale:.12g}")] + ([("offset", f"{offset:.12g}")] if offset else [])


def _modbus_address(address: str, kind: str) -> str:
    match = _MODBUS.fullmatch(address.strip())
    if match is None:
        raise ValueError(f"address {address!r} is not a Modbus address like 400001 or 400001.3")
    table, number = _TABLES[match[1]], match[1] + match[2]
    if table in ("coil", "discrete"):
        return f"{table}:{int(number)}:bool"
    if match[4] or kind == "string":
        return f"{table}:{number}:string({match[3] or 1})"
    if match[3] is not None:
        return f"{table}:{number}.{match[3]}:bool"
    if (turned := _TYPES.get(kind)) is None or turned == "bool":
        raise ValueError(f"data type {kind!r} of a register is not read: one of {', '.join(_TYPES)}")
    return f"{table}:{number}:{turned}"


def _s7_address(address: str) -> str:
    match = _S7.fullmatch(address.strip())
    if match is None:
        return address  # M, I and Q have the same form as ours
    block, kind, start, rest = match[1], match[2].upper(), match[3], match[4]
    if kind == "X":
        return f"DB{block}.DBX{start}.{rest or 0}:BOOL"
    if kind == "STRING":
        return f"DB{block}:{start}:STRING({rest or 254})"
    return f"DB{block}:{start}:{kind}"
