"""Modbus: over TCP, over serial lines, and over converters between the two."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.commands.encoding import truth
from gateway.config.host import Host
from gateway.drivers.blocks import Block, Kept, Span, halves, plan
from gateway.drivers.driver import Device, DeviceError, Link, Request, Tag, WriteError
from gateway.drivers.modbus import address as modbus_address
from gateway.drivers.modbus.address import BITS, Address, Decode, Order, decoder
from gateway.drivers.modbus.line import Line, Pace, Refusal, Unanswered, shared
from gateway.drivers.modbus.wire import Serial, Tcp
from nexus.contract.reading import Reading, Value
from nexus.process.clock import now_ms
from nexus.process.duration import Seconds

# Exceptions that mean "not this address": function, address, value. The others are the device's trouble, not the tag's.
_NO_SUCH_FUNCTION = 1
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

    host: Host
    port: int = Field(502, ge=1, le=65535)
    transaction_ids: Literal["echoed", "zero"] = "echoed"

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port, numbered=self.transaction_ids == "echoed")


class RtuTcpSettings(_Common):
    """`modbus-rtu-tcp`: a converter that passes serial frames through."""

    host: Host
    port: int = Field(ge=1, le=65535)

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port, rtu=True, numbered=False)


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
        return self._port

    @property
    def silence(self) -> float:
        """Seconds between two frames."""
        return self._port.silence

    @property
    def _port(self) -> Serial:
        return Serial(self.serial, self.baudrate, self.data_bits, self.parity, self.stop_bits)


Settings = TcpSettings | RtuTcpSettings | RtuSettings

SETTINGS: Mapping[str, type[BaseModel]] = {
    "modbus-tcp": TcpSettings,
    "modbus-rtu": RtuSettings,
    "modbus-rtu-tcp": RtuTcpSettings,
}


def parse_address(text: str, settings: Settings, /, *, writable: bool = False) -> Address:
    """Reads `holding:40001:float32` and its like. Raises ValueError that says what would be right."""
    address = modbus_address.parse(text, settings.addressing, settings.word_order, settings.byte_order)
    if writable:
        modbus_address.check_writable(address)
    return address


@asynccontextmanager
async def connect(device: Device) -> AsyncIterator[Link]:
    """A link to one unit, on a connection that it shares with the others there. Raises DeviceError."""
    async with shared(device.settings.where) as line:
        unit = _Unit(line, device)
        yield Link(unit.read, unit.write, refusals=unit.refusals, waited=unit.pace.seconds_waited)


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
    character, silence = bits / settings.baudrate, settings.silence
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


@dataclass(frozen=True, slots=True)
class _Job:
    """One request, and how its answer is read."""

    block: Block[Tag]
    tags: tuple[Tag, ...]
    decode: Decode


def _job(block: Block[Tag]) -> _Job:
    tags = tuple(span.item for span in block.spans)
    return _Job(block, tags, decoder([tag.address for tag in tags], block.start))


class _Unit:
    """One unit's reads and writes. Plans are made once for each set of tags, and keep what the device refused."""

    def __init__(self, line: Line, device: Device) -> None:
        settings: Settings = device.settings
        self._line = line
        self._settings = settings
        self._clock = asyncio.get_running_loop().time
        self._plans: dict[tuple[str, ...], Kept[list[_Job]]] = {}
        self.pace = Pace(device.timeout, settings.request_delay)
        line.turns.polled(settings.unit, min(tag.interval for tag in device.tags))
        self.refusals: dict[str, str] = {}

    async def read(self, tags: Sequence[Tag]) -> list[Reading]:
        """One scan. Blocks that the device refuses are split until the refused tags stand alone.

        A block whose answer is lost costs its own tags, unless the next one is lost too.
        """
        kept = self._kept(tags)
        readings: list[Reading] = []
        settled: list[_Job] = []
        waiting, lost = kept.plan[::-1], True
        while waiting:
            job = waiting.pop()
            try:
                found, lost = await self._read_block(job), False
            except Unanswered as error:
                if lost:
                    error.readings = readings
                    raise
                found, lost = self._bad(job, str(error)), True
            except DeviceError as error:
                error.readings = readings
                raise
            if found is None and (parts := halves(job.block)):
                waiting.extend(_job(part) for part in reversed(parts))
                continue
            settled.append(job)
            readings.extend(found if found is not None else self._bad(job))
        if len(settled) != len(kept.plan):
            kept.split(settled, self._clock())
        return readings

    def _kept(self, tags: Sequence[Tag]) -> Kept[list[_Job]]:
        key = tuple(tag.name for tag in tags)
        kept = self._plans.get(key)
        if kept is None:
            kept = self._plans[key] = Kept([_job(block) for block in _plan(tags, self._settings)])
        elif self._clock() >= kept.until:
            kept.merge([_job(block) for block in _plan(tags, self._settings)])
        return kept

    def _bad(self, job: _Job, why: str | None = None) -> list[Reading]:
        now = now_ms()
        if why is not None:
            self.refusals.update(dict.fromkeys((tag.name for tag in job.tags), why))
        return [tag.bad(now) for tag in job.tags]

    async def write(self, tag: Tag, value: Value) -> Value:
        """Sets one tag's register, coil or bit."""
        address: Address = tag.address
        line, pace, unit = self._line, self.pace, self._settings.unit
        try:
            if address.table == "coil":
                await line.write_coil(unit, address.start, truth(value, "coil"), pace)
            elif address.table != "holding":
                raise WriteError(f"{address.table} registers and inputs can only be read")
            elif address.bit is not None:
                await self._write_bit(address, truth(value, "bit"))
            else:
                words = modbus_address.encode(address, value)
                await line.write_registers(unit, address.start, words, pace)
                return decoder([address], address.start)(words)[0]
        except Refusal as refusal:
            raise WriteError(f"unit {unit} refuses: {_named(refusal.code)}") from None
        return value

    async def _write_bit(self, address: Address, value: bool) -> None:
        """By function 22, which changes it inside the device. Reading, changing and writing the register instead would
        take back what the PLC did to its other bits in between.
        """
        unit = self._settings.unit
        try:
            await self._line.write_bit(unit, address.start, modbus_address.mask(address), value, self.pace)
        except Refusal as refusal:
            if refusal.code != _NO_SUCH_FUNCTION:
                raise
            raise WriteError(
                f"unit {unit} has no function 22 (mask write), so its other bits would be at risk: write the whole "
                "register as a uint16 tag, or use a coil"
            ) from None

    async def _read_block(self, job: _Job) -> list[Reading] | None:
        """The readings of one request, or None when the device refuses it. Raises DeviceError."""
        block, unit = job.block, self._settings.unit
        try:
            words = await self._line.read(unit, block.space, block.start, block.count, self.pace)  # type: ignore[arg-type]
        except Refusal as refusal:
            if refusal.code in _REFUSALS:
                if len(block.spans) == 1:
                    self.refusals[block.spans[0].item.name] = _named(refusal.code)
                return None
            raise DeviceError(f"unit {unit}: {_named(refusal.code)}") from None
        now = now_ms()
        return [tag.reading(value, now) for tag, value in zip(job.tags, job.decode(words), strict=True)]


def _named(code: int) -> str:
    return f"{_REFUSALS.get(code) or _TROUBLES.get(code, 'exception')} (code {code})"
