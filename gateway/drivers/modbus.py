"""Modbus: registers, coils, and the many orders in which devices put their bytes."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from gateway.driver import Device, DeviceError, Read, Tag
from gateway.plan import Block, Span, halves, plan
from nexus.contract.reading import Reading, Value
from nexus.runtime.duration import Seconds

Table = Literal["coil", "discrete", "input", "holding"]
Order = Literal["big", "little"]

_MODICON = {"coil": 0, "discrete": 1, "input": 3, "holding": 4}  # the digit that leads the number
_BITS = ("coil", "discrete")
_NUMBERS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
_FORM = re.compile(r"(\w+):(\d+)(?:\.(\d+))?(?::([a-z]+\d*)(?:\((\d+)\))?)?")
_READ_CODES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
# Exceptions that mean "not this address": function, address, value. The others are the device's trouble, not the tag's.
_REFUSALS = {1: "function not supported", 2: "illegal address", 3: "illegal value"}
_TROUBLES = {
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "the device behind the gateway does not answer",
}


class Settings(BaseModel):
    """A Modbus device's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    host: str = Field(min_length=1)
    port: int = Field(502, ge=1, le=65535)
    unit: int = Field(1, ge=0, le=255)
    addressing: Literal["modicon", "zero", "one"] = "modicon"
    word_order: Order = "big"
    byte_order: Order = "big"
    request_delay: Seconds = Field(0.0, ge=0)
    max_registers: int = Field(125, ge=1, le=125)
    max_bits: int = Field(2000, ge=1, le=2000)
    gap: int = Field(8, ge=0, le=124)


@dataclass(frozen=True, slots=True)
class Address:
    """`count` registers (or bits) from `start`, counted from zero; `bit` 0 to 15 of a register."""

    table: Table
    start: int
    count: int
    type: str
    bit: int | None = None


Decode = Callable[[Sequence[int], int], Value]


def parse_address(text: str, settings: Settings) -> Address:
    """Reads `holding:40001:float32`, `holding:40020.3:bool`, `coil:1`, `input:30010:string(8)`.

    Raises ValueError that says what would be right.
    """
    if (match := _FORM.fullmatch(text.strip())) is None:
        raise ValueError("write it like holding:40001:float32, holding:40020.3:bool or coil:1:bool")
    table, number, bit, kind, length = match.groups()
    if table not in _MODICON:
        raise ValueError(f"there is no table {table!r}: use holding, input, coil or discrete")
    start = _start(table, number, settings.addressing)
    if table in _BITS:
        if bit is not None or kind not in (None, "bool"):
            raise ValueError(f"a {table} is one bit: its type is bool, and it has no bit number")
        return Address(table, start, 1, "bool")  # type: ignore[arg-type]  # checked above
    count = _registers(kind, bit, length)
    if start + count > 65536:
        raise ValueError(f"{count} registers from there go beyond the last one, 65535")
    return Address(table, start, count, str(kind), int(bit) if bit is not None else None)  # type: ignore[arg-type]


def _start(table: str, number: str, addressing: str) -> int:
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
    types = ", ".join(_NUMBERS)
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
    if kind not in _NUMBERS:
        raise ValueError(f"there is no type {kind!r}: use {types}, string(n) or bool")
    return struct.calcsize(_NUMBERS[kind]) // 2


@asynccontextmanager
async def connect(device: Device, _tags: Sequence[Tag]) -> AsyncIterator[Read]:
    """A connection to one unit, for as long as the block runs. Raises DeviceError."""
    settings: Settings = device.settings
    client = AsyncModbusTcpClient(
        settings.host, port=settings.port, timeout=device.timeout, retries=0, reconnect_delay=0, name=device.name
    )
    try:
        if not await client.connect():
            raise DeviceError(f"no connection to {settings.host}:{settings.port}: is it on, and is the port right?")
        yield _Unit(client, settings).read
    finally:
        client.close()


class _Unit:
    """One unit's reads. Plans are made once for each set of tags, and keep what the device refused."""

    def __init__(self, client: AsyncModbusTcpClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._plans: dict[tuple[str, ...], list[Block[Tag]]] = {}
        self._decoders: dict[str, Decode] = {}
        self._calls = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "input": client.read_input_registers,
            "holding": client.read_holding_registers,
        }

    async def read(self, tags: Sequence[Tag]) -> list[Reading]:
        """One scan. Blocks that the device refuses are split until the refused tags stand alone."""
        key = tuple(tag.name for tag in tags)
        blocks = self._plans.get(key) or self._plan(tags)
        readings: list[Reading] = []
        settled: list[Block[Tag]] = []
        waiting = blocks[::-1]
        while waiting:
            block = waiting.pop()
            found = await self._read_block(block)
            if found is None and (parts := halves(block)):
                waiting.extend(reversed(parts))
                continue
            settled.append(block)
            readings.extend(found if found is not None else [span.item.bad(_now()) for span in block.spans])
        self._plans[key] = settled
        return readings

    def _plan(self, tags: Sequence[Tag]) -> list[Block[Tag]]:
        blocks: list[Block[Tag]] = []
        for tables, limit in ((_BITS, self._settings.max_bits), (("input", "holding"), self._settings.max_registers)):
            spans = [
                Span(tag.address.table, tag.address.start, tag.address.count, tag)
                for tag in tags
                if tag.address.table in tables
            ]
            blocks += plan(spans, limit=limit, gap=self._settings.gap)
        for tag in tags:
            self._decoders[tag.name] = decoder(tag.address, self._settings.word_order, self._settings.byte_order)
        return blocks

    async def _read_block(self, block: Block[Tag]) -> list[Reading] | None:
        """The readings of one request, or None when the device refuses it. Raises DeviceError."""
        table = str(block.space)
        if self._settings.request_delay:
            await asyncio.sleep(self._settings.request_delay)
        try:
            answer = await self._calls[table](block.start, count=block.count, device_id=self._settings.unit)
        except ModbusException as error:
            raise DeviceError(f"no answer from unit {self._settings.unit}: {error}") from error
        now = _now()
        if answer.isError():
            self._raise_unless_refused(answer)
            return None
        words = answer.bits[: block.count] if table in _BITS else answer.registers
        if answer.function_code != _READ_CODES[table] or len(words) != block.count:
            raise DeviceError(f"unit {self._settings.unit} answered something else than was asked")
        return [self._reading(span, words, block.start, now) for span in block.spans]

    def _raise_unless_refused(self, answer: ModbusPDU) -> None:
        code = answer.exception_code
        if code in _REFUSALS:
            return
        raise DeviceError(f"unit {self._settings.unit}: {_TROUBLES.get(code, 'exception')} (code {code})")

    def _reading(self, span: Span[Tag], words: Sequence[int], start: int, now: int) -> Reading:
        tag = span.item
        return tag.reading(self._decoders[tag.name](words, span.start - start), now)


def decoder(address: Address, word_order: Order, byte_order: Order) -> Decode:
    """How to read a value from a block's registers (or bits), given the offset of its first in the block."""
    if address.table in _BITS:
        return lambda words, at: bool(words[at])
    # Registers arrive as numbers: packing them little-endian swaps the bytes of each, and reading the whole
    # little-endian reverses all. Between them the two reach ABCD, CDAB, BADC and DCBA.
    count, swapped = address.count, "<" if byte_order == "little" else ">"
    if address.type == "string":
        text = struct.Struct(f"{swapped}{count}H")
        return lambda words, at: _text(text.pack(*words[at : at + count]))
    pack = struct.Struct(f"{'>' if word_order == byte_order else '<'}{count}H").pack
    if (bit := address.bit) is not None:
        read_word = struct.Struct("<H" if word_order == "little" else ">H").unpack
        return lambda words, at: bool(read_word(pack(words[at]))[0] >> bit & 1)
    unpack = struct.Struct(f"{'<' if word_order == 'little' else '>'}{_NUMBERS[address.type]}").unpack
    return lambda words, at: unpack(pack(*words[at : at + count]))[0]


def _text(data: bytes) -> str:
    """Text up to its first NUL; devices that know no UTF-8 use Latin-1."""
    data = data.split(b"\0", 1)[0]
    try:
        return data.decode("utf-8").rstrip()
    except UnicodeDecodeError:
        return data.decode("latin-1").rstrip()


def _now() -> int:
    return int(time() * 1000)
