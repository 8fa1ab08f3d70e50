"""S7 addresses, and how values are laid out in bytes. Everything is big-endian."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from snap7.tags import parse_tag

from gateway.commands.encoding import packed, shown, text, truth
from gateway.drivers.driver import WriteError
from nexus.contract.reading import Value

NUMBERS = {
    "BYTE": ">B",
    "USINT": ">B",
    "SINT": ">b",
    "WORD": ">H",
    "UINT": ">H",
    "INT": ">h",
    "DWORD": ">I",
    "UDINT": ">I",
    "DINT": ">i",
    "LWORD": ">Q",
    "ULINT": ">Q",
    "LINT": ">q",
    "REAL": ">f",
    "LREAL": ">d",
    "TIME": ">i",
    "TOD": ">I",
    "LTIME": ">q",
}
_INPUTS = 0x81
_WIDTHS = {"B": 1, "W": 2, "D": 4}
_BIT_OF_A_BLOCK = re.compile(r"%?DB\d+\.DBX\d+\.\d", re.IGNORECASE)
_WIDTH = re.compile(r"%?(?:DB\d+\.DB|[MIQEA])([BWD])\d", re.IGNORECASE)
_BIT = re.compile(r"(?:DB\d+\.DBX|[MIQEA]X?)\d+\.\d+:", re.IGNORECASE)
_BLOCK = re.compile(r"DB(\d+)", re.IGNORECASE)
_LONGEST = {"STRING": 254, "WSTRING": 16_382}
_KNOWN = frozenset(("BOOL", "CHAR", *NUMBERS, *_LONGEST))
_OTHERWISE = {"FLOAT": "REAL", "FLOAT32": "REAL", "FLOAT64": "LREAL", "DOUBLE": "LREAL", "BIT": "BOOL"}
_OTHERWISE |= {"INT16": "INT", "UINT16": "UINT", "INT32": "DINT", "UINT32": "UDINT"}
_TYPE = re.compile(r":([A-Z]\w*)(\[\d+\])?(?:\[\d+\])?$")
_BITLESS = re.compile(r"(?:DB\d+\.DB[XBWD]|[MIQ][XBWD]?)\d+:")
_GERMAN = re.compile(r"^[EA](?=[XBWD]?\d)")
_LENGTH = re.compile(r"(W?STRING)[(\[](\d+)[)\]]$")
_NEVER = re.compile(r"[-+_]")  # the library's parser takes -1 and 1_0 for numbers


def _any_case(text: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in text)


_DB, _DBX = _any_case("DB"), _any_case("DBX")
_PLACE = (
    rf"({_DB}\d+(\.{_DB}[XBWDxbwd]\d+(\.\d)?|:\d+(\.\d)?)|[MIQEAmiqea][XBWDxbwd]?\d+(\.\d)?):[A-Za-z]+([(\[]\d+[)\]])?"
)
_SHORT = rf"{_DB}\d+,[A-Za-z]+\d+(\.\d+)?|[MIQEAmiqea][A-Za-z]*\d+(\.\d+)?|{_DB}\d+\.{_DBX}\d+\.\d"
# For editors: what `parse` takes, nearly.
PATTERN = rf"^\s*%?({_PLACE}|{_SHORT})\s*$"


@dataclass(frozen=True, slots=True)
class Address:
    """`count` bytes from `start` of an area (or a data block); `bit` 0 to 7 of a BOOL; `length` of a text."""

    area: int
    block: int
    start: int
    count: int
    type: str
    bit: int = 0
    length: int = 0

    @property
    def space(self) -> str:
        """The block or area, as people write it."""
        return f"DB{self.block}" if self.block else {_INPUTS: "I", 0x82: "Q", 0x83: "M"}.get(self.area, hex(self.area))


def parse(text: str) -> Address:
    """Reads `DB1.DBD0:REAL`, `DB1.DBX4.0:BOOL`, `MW20:INT`, `I0.0`, `DB1,R4` and their like.

    Raises ValueError that says what would be right.
    """
    written = text.strip().removeprefix("%")
    if _BIT_OF_A_BLOCK.fullmatch(written):
        written += ":BOOL"
    written = _LENGTH.sub(lambda match: f"{match[1]}[{match[2]}]", written.upper())
    written = _GERMAN.sub(lambda match: "I" if match[0] == "E" else "Q", written)
    _check_type(written)
    try:
        tag = parse_tag("" if _NEVER.search(written) else written, strict=False)
        size = tag.size
    except ValueError:
        raise ValueError(
            "write it like DB1.DBD0:REAL, DB1.DBX4.0:BOOL, DB1.DBB10:STRING(20), MW20:INT or I0.0"
        ) from None
    kind, _, length = tag.datatype.upper().rstrip("]").partition("[")
    _check(written, kind, size, tag.bit, tag.count)
    if kind in _LONGEST and not 1 <= int(length or 0) <= _LONGEST[kind]:
        raise ValueError(f"a {kind} has 1 to {_LONGEST[kind]} characters")
    if tag.byte_offset + size > 65536:
        raise ValueError("a block has at most 65,536 bytes")
    return Address(int(tag.area), tag.db_number, tag.byte_offset, size, kind, tag.bit, int(length or 0))


def _check_type(written: str) -> None:
    """Checks the type before the library's parser does, which knows more types and explains less."""
    if (named := _TYPE.search(written)) is None:
        return
    kind = named[1]
    if kind in _LONGEST and not named[2]:
        raise ValueError(f"a {kind} needs its length, like {kind}(20)")
    if kind not in _KNOWN:
        right = _OTHERWISE.get(kind)
        known = ", ".join(("BOOL", "CHAR", *NUMBERS, "STRING(n)", "WSTRING(n)"))
        raise ValueError(f"the type {kind} is not read: use {right or f'one of {known}'}")
    if kind == "BOOL" and _BITLESS.match(written):
        raise ValueError("a BOOL is one bit: name it, like DB1.DBX4.0:BOOL or M4.0")


def _check(written: str, kind: str, size: int, bit: int, count: int) -> None:
    if kind not in _KNOWN:  # of a short form, as DB1,DT4
        raise ValueError(f"the type {kind} is not read")
    if count != 1:
        raise ValueError("arrays are not read as a whole: give each element its own tag")
    if not 0 <= bit <= 7:
        raise ValueError(f"a byte has bits 0 to 7, not {bit}")
    if _BIT.match(written) and kind != "BOOL":
        raise ValueError(f"that is the address of a bit, and {kind} is none: name its first byte, like DB1.DBD4:{kind}")
    if (block := _BLOCK.match(written)) is not None and not 1 <= int(block[1]) <= 65_535:
        raise ValueError(f"data blocks have numbers from 1 to 65535, not {block[1]}")
    width = _WIDTH.match(written)
    if width is not None and kind not in ("STRING", "WSTRING") and _WIDTHS[width[1]] != size and size <= 4:
        right = {size: letter for letter, size in _WIDTHS.items()}[size]
        raise ValueError(f"{width[1]} is {_WIDTHS[width[1]]} bytes, but {kind} has {size}: use {right}")


def check_writable(address: Address) -> None:
    """Raises ValueError for inputs: the PLC would accept the write, and overwrite it in its next cycle."""
    if address.area == _INPUTS:
        raise ValueError("inputs can only be read: leave `writable` out, or write a marker or a data block instead")


def decoder(address: Address) -> Callable[[bytes, int], Value]:
    """How to read a value from a block's bytes, given the offset of its first. Raises ValueError for no such value."""
    kind, count = address.type, address.count
    if kind == "BOOL":
        mask = 1 << address.bit
        return lambda data, at: bool(data[at] & mask)
    if kind == "CHAR":
        return lambda data, at: chr(data[at])
    if kind == "STRING":
        return lambda data, at: _text(data[at : at + count], 1, "latin-1")
    if kind == "WSTRING":
        return lambda data, at: _text(data[at : at + count], 2, "utf-16-be")
    unpack = struct.Struct(NUMBERS[kind]).unpack_from
    return lambda data, at: unpack(data, at)[0]


def _text(data: bytes, width: int, encoding: str) -> str:
    """A text starts with its capacity and its length; one that was never set may hold anything there."""
    capacity, length = int.from_bytes(data[:width], "big"), int.from_bytes(data[width : 2 * width], "big")
    if length > capacity or (2 + length) * width > len(data):
        raise ValueError(f"no text: its length is {length}, its capacity {capacity}")
    return data[2 * width : (2 + length) * width].decode(encoding)


def encode(address: Address, value: Value) -> bytes:
    """The bytes that hold `value`; of a text without its capacity. Raises WriteError when it does not fit."""
    kind = address.type
    if kind == "BOOL":
        return bytes([truth(value, "BOOL")])
    if kind in ("CHAR", "STRING", "WSTRING"):
        return _encoded_text(address, text(value, kind))
    return packed(NUMBERS[kind], value, kind)


def capacity_bytes(address: Address) -> int:
    """How many bytes before a text's length hold its capacity; they belong to the PLC, and are never written."""
    return {"STRING": 1, "WSTRING": 2}.get(address.type, 0)


def _encoded_text(address: Address, value: str) -> bytes:
    width, encoding = (2, "utf-16-be") if address.type == "WSTRING" else (1, "latin-1")
    try:
        data = value.encode(encoding)
    except UnicodeEncodeError:
        raise WriteError(f"{shown(value)} has letters that {address.type} does not know") from None
    size = len(data) // width
    if address.type == "CHAR":
        if size != 1:
            raise WriteError(f"a CHAR is one character, not {size}")
        return data
    if size > address.length:
        raise WriteError(f"the text is longer than {address.length} characters")
    return size.to_bytes(width, "big") + data
