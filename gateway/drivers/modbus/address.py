"""Modbus addresses, and how values are laid out in registers."""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from gateway.commands.encoding import packed, text
from gateway.drivers.driver import WriteError
from nexus.contract.reading import Value

Table = Literal["coil", "discrete", "input", "holding"]
Order = Literal["big", "little"]

BITS = ("coil", "discrete")
READS: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # the functions
# For editors: what `parse` takes, nearly.
PATTERN = (
    r"^\s*((coil|discrete):\d+(:bool)?"
    r"|(holding|input):\d+(:(u?int(16|32|64)|float(32|64)|string\(\d+\))|\.\d+:bool))\s*$"
)
_MOST_WRITTEN = 123  # registers of one request

_MODICON: dict[Table, int] = {"coil": 0, "discrete": 1, "input": 3, "holding": 4}  # the leading digit of the number
NUMBERS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
_FORM = re.compile(r"(\w+):(\d+)(?:\.(\d+))?(?::([A-Za-z]+\d*)(?:\((\d+)\))?)?")
# As PLC programs and vendors' register lists call them.
_ALIASES = {
    "int": "int16",
    "word": "uint16",
    "uint": "uint16",
    "dint": "int32",
    "dword": "uint32",
    "udint": "uint32",
    "lint": "int64",
    "ulint": "uint64",
    "lword": "uint64",
    "real": "float32",
    "float": "float32",
    "lreal": "float64",
    "double": "float64",
}


@dataclass(frozen=True, slots=True)
class Address:
    """`count` registers (or bits) from `start`, counted from zero; `bit` of a register; `length` of a string."""

    table: Table
    start: int
    count: int
    type: str
    bit: int | None = None
    length: int = 0
    word_order: Order = "big"
    byte_order: Order = "big"


Decode = Callable[[Sequence[int]], Sequence[Value]]


def parse(text: str, addressing: str, word_order: Order = "big", byte_order: Order = "big") -> Address:
    """Reads `holding:40001:float32`, `holding:40020.3:bool`, `coil:1`, `input:30010:string(8)`.

    Raises ValueError that says what would be right.
    """
    if (match := _FORM.fullmatch(text.strip())) is None:
        raise ValueError("write it like holding:40001:float32, holding:40020.3:bool or coil:1:bool")
    named, number, bit, kind, length = match.groups()
    if (table := next((one for one in _MODICON if one == named), None)) is None:
        raise ValueError(f"there is no table {named!r}: use holding, input, coil or discrete")
    start = _start(table, number, addressing)
    if table in BITS:
        if bit is not None or kind not in (None, "bool"):
            raise ValueError(f"a {table} is one bit: its type is bool, and it has no bit number")
        return Address(table, start, 1, "bool")
    count = _registers(kind, bit, length)
    if start + count > 65536:
        raise ValueError(f"{count} registers from there go beyond the last one, 65535")
    return Address(
        table,
        start,
        count,
        str(kind),
        int(bit) if bit is not None else None,
        int(length or 0),
        word_order,
        byte_order,
    )


def check_writable(address: Address) -> None:
    """Raises ValueError for what Modbus cannot write."""
    if address.table in ("input", "discrete"):
        other = "holding" if address.table == "input" else "coil"
        raise ValueError(f"{address.table} can only be read: leave `writable` out, or is it a {other}?")
    if address.count > _MOST_WRITTEN:
        raise ValueError(f"at most {_MOST_WRITTEN} registers are written at once, which are {_MOST_WRITTEN * 2} bytes")


def _start(table: Table, number: str, addressing: str) -> int:
    value, digit = int(number), _MODICON[table]
    if addressing == "modicon":
        for base in (digit * 10_000, digit * 100_000):
            span = 65_536 if base != digit * 10_000 or digit == 0 else 9_999
            if base < value <= base + span:
                return value - base - 1
        ranges = "1 to 65536" if digit == 0 else f"{digit}0001 to {digit}9999, or {digit}00001 to {digit}65536"
        raise ValueError(f"Modicon numbers of {table} are {ranges}; or set `addressing: zero` or `one` for the device")
    lowest = 1 if addressing == "one" else 0
    if not lowest <= value <= 65_535 + lowest:
        raise ValueError(f"with `addressing: {addressing}` numbers are {lowest} to {65_535 + lowest}")
    return value - lowest


def _registers(kind: str | None, bit: str | None, length: str | None) -> int:
    types = ", ".join(NUMBERS)
    if kind is not None and kind not in (*NUMBERS, "string", "bool"):
        right = _ALIASES.get(kind.lower(), kind.lower())
        if right in (*NUMBERS, "string", "bool"):
            raise ValueError(f"there is no type {kind}: write {right}")
        raise ValueError(f"there is no type {kind!r}: use {types}, string(n) or bool")
    if kind is None:
        raise ValueError(f"the type is missing: add one of {types}, string(n), or bool with a bit number")
    if (kind == "bool") != (bit is not None):
        raise ValueError(
            "a bool in a register needs its bit, 0 to 15, like holding:40020.3:bool; other types have none"
        )
    if bit is not None and int(bit) > 15:
        raise ValueError(f"a register has bits 0 to 15, not {bit}")
    if (kind == "string") != (length is not None):
        raise ValueError("a string needs its length in characters, like string(10), and only a string has one")
    if kind == "string":
        if not 1 <= int(length or 0) <= 250:
            raise ValueError("a string has 1 to 250 characters")
        return (int(length or 0) + 1) // 2
    if kind == "bool":
        return 1
    return struct.calcsize(NUMBERS[kind]) // 2


def decoder(addresses: Sequence[Address], start: int) -> Decode:
    """How to read the values of a block's registers (or bits), which begins at `start`: all in one go.

    The registers are put in the order in which each value wants them, as often as it takes, and read as one struct.
    Packing them little-endian swaps the bytes of each. Between the two, ABCD, CDAB, BADC and DCBA are all reached.
    """
    if addresses and addresses[0].table in BITS:
        places = [address.start - start for address in addresses]
        return lambda words: [bool(words[at]) for at in places]
    swapped = [address.byte_order == "little" for address in addresses]
    if any(swapped) and not all(swapped):
        return _mixed(addresses, start, swapped)
    return _registers_decoder(addresses, start, "<" if any(swapped) else ">")


def in_place(addresses: Sequence[Address], start: int, count: int) -> str | None:
    """The struct of a block of registers whose values, in this order, can be read where they are; None if they cannot.

    That is how most are: no two share registers, and all have their high bytes and words first.
    """
    codes, at = "", start
    for address in addresses:
        turned = address.byte_order == "little" or (address.word_order == "little" and address.type != "string")
        if address.table in BITS or address.start < at or turned or _fix(address) is not None:
            return None
        codes += "xx" * (address.start - at) + _code(address)
        at = address.start + address.count
    return codes + "xx" * (start + count - at)


def _mixed(addresses: Sequence[Address], start: int, swapped: Sequence[bool]) -> Decode:
    """Each byte order on its own, and then all values in the order of their addresses."""
    parts = []
    for order in (False, True):
        chosen = [at for at, one in enumerate(swapped) if one == order]
        parts.append((chosen, _registers_decoder([addresses[at] for at in chosen], start, "<" if order else ">")))

    def decode(words: Sequence[int]) -> Sequence[Value]:
        values: list[Value] = [None] * len(addresses)
        for chosen, part in parts:
            for at, value in zip(chosen, part(words), strict=True):
                values[at] = value
        return values

    return decode


def _registers_decoder(addresses: Sequence[Address], start: int, bytes_in: str) -> Decode:
    places: list[int] = []
    codes = ""
    fixes: list[Callable[[Any], Value] | None] = []
    for address in addresses:
        registers = range(address.start - start, address.start - start + address.count)
        reverse = address.word_order == "little" and address.type != "string"
        places += reversed(registers) if reverse else registers
        codes += _code(address)
        fixes.append(_fix(address))
    pick = itemgetter(*places) if len(places) > 1 else lambda words: (words[places[0]],)
    pack = struct.Struct(f"{bytes_in}{len(places)}H").pack
    unpack = struct.Struct(f">{codes}").unpack
    if not any(fixes):
        return lambda words: unpack(pack(*pick(words)))
    return lambda words: [
        value if fix is None else fix(value) for value, fix in zip(unpack(pack(*pick(words))), fixes, strict=True)
    ]


def _code(address: Address) -> str:
    if address.type == "string":
        return f"{address.length}s{'x' * (address.count * 2 - address.length)}"
    return "H" if address.bit is not None else NUMBERS.get(address.type, "H")


def _fix(address: Address) -> Callable[[Any], Value] | None:
    if address.type == "string":
        return _text
    if (bit := address.bit) is not None:
        return lambda word: bool(word >> bit & 1)
    return None


def _text(data: bytes) -> str:
    """Text up to its first NUL; devices that know no UTF-8 use Latin-1."""
    data = data.split(b"\0", 1)[0]
    try:
        return data.decode("utf-8").rstrip()
    except UnicodeDecodeError:
        return data.decode("latin-1").rstrip()


def encode(address: Address, value: Value) -> list[int]:
    """The registers that hold `value`; not for bits. Raises WriteError when it does not fit."""
    count, word_order, byte_order = address.count, address.word_order, address.byte_order
    swapped = "<" if byte_order == "little" else ">"
    if address.type == "string":
        data = _encoded_text(address, text(value, f"string({address.length})"))
        return list(struct.unpack(f"{swapped}{count}H", data.ljust(count * 2, b"\0")))
    data = packed(f"{'<' if word_order == 'little' else '>'}{NUMBERS[address.type]}", value, address.type)
    return list(struct.unpack(f"{'>' if word_order == byte_order else '<'}{count}H", data))


def _encoded_text(address: Address, value: str) -> bytes:
    data = value.encode("utf-8")
    if len(data) > address.length:
        raise WriteError(f"the text has {len(data)} bytes, and string({address.length}) holds {address.length}")
    if b"\0" in data:
        raise WriteError("a text ends at its first NUL: leave it out")
    return data


def mask(address: Address) -> int:
    """The mask of a bool's bit, in the register as transmitted."""
    bit = address.bit or 0
    return 1 << (bit if address.byte_order == "big" else bit ^ 8)
