"""Modbus: over TCP, over serial lines, and over converters between the two."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.driver import Device, DeviceError, Link, Request, Tag, WriteError
from gateway.drivers import modbus_address
from gateway.drivers.modbus_address import BITS, Address, Decode, Order, decoder
from gateway.drivers.modbus_line import Line, Pace, Refusal, Serial, Tcp, shared
from gateway.encoding import truth
from gateway.plan import Block, Span, halves, plan
from nexus.contract.reading import Reading, Value
from nexus.runtime.duration import Seconds

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


class _Common(BaseModel):
    """What all Modbus devices can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    unit: int = Field(1, ge=0, le=255)
    addressing: Literal["modicon", "zero", "one"] = "modicon"
    word_order: Order = "big"
    byte_order: Order = "big"
    request_delay: Annotated[Seconds, Field(ge=0)] = 0.0
    max_registers: int = Field(125, ge=1, le=125)
    max_bits: int = Field(2000, ge=1, le=2000)
    gap: int = Field(8, ge=0, le=124)


class TcpSettings(_Common):
    """`modbus-tcp`."""

    host: str = Field(min_length=1)
    port: int = Field(502, ge=1, le=65535)

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port)


class RtuTcpSettings(_Common):
    """`modbus-rtu-tcp`: a converter that passes serial frames through."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port, rtu=True)


class RtuSettings(_Common):
    """`modbus-rtu`: a serial port of this machine."""

    unit: int = Field(1, ge=0, le=247)
    serial: str = Field(min_length=1)
    baudrate: int = Field(9600, ge=300, le=4_000_000)
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "even"
    stop_bits: Literal[1, 2] = 1

    @property
    def where(self) -> Tcp | Serial:
        return Serial(self.serial, self.baudrate, self.data_bits, self.parity, self.stop_bits)


Settings = TcpSettings | RtuTcpSettings | RtuSettings

SETTINGS: Mapping[str, type[BaseModel]] = {
    "modbus-tcp": TcpSettings,
    "modbus-rtu": RtuSettings,
    "modbus-rtu-tcp": RtuTcpSettings,
}


def parse_address(text: str, settings: Settings) -> Address:
    """Reads `holding:40001:float32` and its like. Raises ValueError that says what would be right."""
    return modbus_address.parse(text, settings.addressing)


@asynccontextmanager
async def connect(device: Device) -> AsyncIterator[Link]:
    """A link to one unit, on a connection that it shares with the others there. Raises DeviceError."""
    async with shared(device.settings.where) as line:
        unit = _Unit(line, device)
        yield Link(unit.read, unit.write, refusals=unit.refusals)


def requests(device: Device) -> list[Request]:
    """The read plan: registers or bits of each request, and its time on a serial line."""
    settings: Settings = device.settings
    found = []
    for interval in sorted({tag.interval for tag in device.tags}):
        for block in _plan([tag for tag in device.tags if tag.interval == interval], settings):
            unit = "bits" if block.space in BITS else "registers"
            used = {at for span in block.spans for at in range(span.start, span.start + span.count)}
            text = f"unit {settings.unit} {block.space} {block.start}..{block.start + block.count - 1}"
            tags = tuple(span.item.name for span in block.spans)
            waste = block.count - len(used)
            seconds = _bus_seconds(settings, block)
            found.append(Request(text, tags, block.count, waste, unit, interval, seconds))
    return found


def bus(settings: Settings) -> str | None:
    """Serial lines carry one request at a time, and each takes its time."""
    return str(settings.where) if isinstance(settings, RtuSettings) else None


def _bus_seconds(settings: Settings, block: Block[Tag]) -> float | None:
    """Request, answer and the silences around them; elsewhere only the pause that was asked for is known."""
    if not isinstance(settings, RtuSettings):
        return settings.request_delay or None
    data = (block.count + 7) // 8 if block.space in BITS else block.count * 2
    bits = 1 + settings.data_bits + (settings.parity != "none") + settings.stop_bits
    character = bits / settings.baudrate
    silence = max(3.5 * character, 0.00175)
    return (8 + 5 + data) * character + 2 * silence + settings.request_delay


def _plan(tags: Sequence[Tag], settings: Settings) -> list[Block[Tag]]:
    blocks: list[Block[Tag]] = []
    for tables, limit in ((BITS, settings.max_bits), (("input", "holding"), settings.max_registers)):
        spans = [
            Span(tag.address.table, tag.address.start, tag.address.count, tag)
            for tag in tags
            if tag.address.table in tables
        ]
        blocks += plan(spans, limit=limit, gap=settings.gap)
    return blocks


class _Unit:
    """One unit's reads and writes. Plans are made once for each set of tags, and keep what the device refused."""

    def __init__(self, line: Line, device: Device) -> None:
        settings: Settings = device.settings
        self._line = line
        self._settings = settings
        self._pace = Pace(device.timeout, settings.request_delay)
        self._plans: dict[tuple[str, ...], list[Block[Tag]]] = {}
        self.refusals: dict[str, str] = {}
        self._decoders: dict[int, tuple[Decode, tuple[Tag, ...]]] = {}  # by the block's identity
        self._blocks: list[Block[Tag]] = []

    async def read(self, tags: Sequence[Tag]) -> list[Reading]:
        """One scan. Blocks that the device refuses are split until the refused tags stand alone."""
        key = tuple(tag.name for tag in tags)
        blocks = self._plans.get(key) or _plan(tags, self._settings)
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

    async def write(self, tag: Tag, value: Value) -> Value:
        """Sets one tag's register, coil or bit."""
        address: Address = tag.address
        settings, line, pace, unit = self._settings, self._line, self._pace, self._settings.unit
        try:
            if address.table == "coil":
                await line.write_coil(unit, address.start, truth(value, "coil"), pace)
            elif address.table != "holding":
                raise WriteError(f"{address.table} registers and inputs can only be read")
            elif address.bit is not None:
                mask = modbus_address.mask(address, settings.byte_order)
                await line.write_bit(unit, address.start, mask, truth(value, "bit"), pace)
            else:
                words = modbus_address.encode(address, value, settings.word_order, settings.byte_order)
                await line.write_registers(unit, address.start, words, pace)
                return decoder([address], address.start, settings.word_order, settings.byte_order)(words)[0]
        except Refusal as refusal:
            raise WriteError(f"unit {unit} refuses: {_named(refusal.code)}") from None
        return value

    async def _read_block(self, block: Block[Tag]) -> list[Reading] | None:
        """The readings of one request, or None when the device refuses it. Raises DeviceError."""
        table, unit = str(block.space), self._settings.unit
        try:
            words = await self._line.read(unit, table, block.start, block.count, self._pace)  # type: ignore[arg-type]
        except Refusal as refusal:
            if refusal.code in _REFUSALS:
                if len(block.spans) == 1:
                    self.refusals[block.spans[0].item.name] = _named(refusal.code)
                return None
            raise DeviceError(f"unit {unit}: {_named(refusal.code)}") from None
        decode, tags = self._decoded(block)
        now = _now()
        return [tag.reading(value, now) for tag, value in zip(tags, decode(words), strict=True)]

    def _decoded(self, block: Block[Tag]) -> tuple[Decode, tuple[Tag, ...]]:
        if (found := self._decoders.get(id(block))) is None:
            tags = tuple(span.item for span in block.spans)
            settings = self._settings
            decode = decoder([tag.address for tag in tags], block.start, settings.word_order, settings.byte_order)
            self._blocks.append(block)  # an identity is good for as long as the block is
            found = self._decoders[id(block)] = decode, tags
        return found


def _named(code: int) -> str:
    return f"{_REFUSALS.get(code) or _TROUBLES.get(code, 'exception')} (code {code})"


def _now() -> int:
    return int(time() * 1000)
