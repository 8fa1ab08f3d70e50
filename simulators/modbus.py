"""Simulated Modbus devices, over TCP in either framing: many units per port, values from signals."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from simulators.fault import Fault, Faults, send
from simulators.line import listening
from simulators.plant import Signal, Wave

Table = Literal["coil", "discrete", "input", "holding"]

_CODES: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
_WRITES = (5, 6, 15, 16, 22)
_HEADER = struct.Struct(">HHHB")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _NO_SUCH_UNIT = 1, 2, 3, 11


class Point(BaseModel):
    """One value. `offset` counts registers, or bits, from zero; `length` is a string's, in characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: Table
    offset: int = Field(ge=0, le=65535)
    type: Literal["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"]
    length: int = Field(0, ge=0, le=250)
    signal: Signal


class Device(BaseModel):
    """One unit, as described in a simulation file. Several may share a port."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    protocol: Literal["modbus-tcp", "modbus-rtu-tcp"]
    host: str = "127.0.0.1"
    port: int = Field(5020, ge=0, le=65535)
    unit: int = Field(1, ge=0, le=255)
    word_order: Literal["big", "little"] = "big"
    byte_order: Literal["big", "little"] = "big"
    points: list[Point] = Field(min_length=1)


class _Live:
    """A point whose signal runs."""

    def __init__(self, point: Point, device: Device) -> None:
        self._point = point
        self._device = device
        self._wave: Wave = point.signal.start()
        self._written: dict[int, int] = {}
        self.count = len(self.words(0.0)) if point.type == "string" else max(1, self._size(point) // 2)

    def write(self, index: int, word: int) -> None:
        """Sets a register, or the bit, which no longer follows the signal."""
        self._written[index] = word

    def words(self, now: float) -> list[int]:
        """The registers, or the bit, at `now`."""
        words = self._signalled(now)
        for index, word in self._written.items():
            words[index] = word
        return words

    def _signalled(self, now: float) -> list[int]:
        point, value = self._point, self._wave(now)
        if point.type == "bool":
            return [int(bool(value))]
        if point.type == "string":
            data = str(value).encode("utf-8")[: point.length].ljust(point.length + point.length % 2, b"\0")
        else:
            number = float(value)
            data = struct.pack(_FORMATS[point.type], number if point.type.startswith("float") else self._whole(value))
        words = list(struct.unpack(f"{'<' if self._device.byte_order == 'little' else '>'}{len(data) // 2}H", data))
        return words[::-1] if self._device.word_order == "little" and point.type != "string" else words

    def _whole(self, value: float | str) -> int:
        """Integers wrap as a PLC's do."""
        bits = struct.calcsize(_FORMATS[self._point.type]) * 8
        number = int(value) & ((1 << bits) - 1)
        signed = self._point.type.startswith("int")
        return number - (1 << bits) if signed and number >> (bits - 1) else number

    @staticmethod
    def _size(point: Point) -> int:
        return 2 if point.type == "bool" else struct.calcsize(_FORMATS[point.type])


class Unit:
    """The four tables of one device."""

    def __init__(self, device: Device) -> None:
        self.name = device.name
        self.reads = 0
        self._tables: dict[Table, dict[int, tuple[_Live, int]]] = {table: {} for table in _CODES.values()}
        for point in device.points:
            live, table = _Live(point, device), self._tables[point.table]
            for index in range(live.count):
                if point.offset + index in table:
                    raise ValueError(f"{device.name}: two points at {point.table} {point.offset + index}")
                table[point.offset + index] = (live, index)

    def read(self, table: Table, start: int, count: int, now: float) -> list[int] | None:
        """Registers or bits from `start`; None if one of them belongs to no point."""
        self.reads += 1
        cells, words, at = self._tables[table], list[int](), start
        if any(offset not in cells for offset in range(start, start + count)):
            return None
        while at < start + count:
            live, index = cells[at]
            part = live.words(now)[index : index + start + count - at]
            words += part
            at += len(part)
        return words

    def write(self, table: Table, start: int, words: list[int]) -> bool:
        """Sets registers or bits from `start`; False if one of them belongs to no point."""
        cells = self._tables[table]
        if any(offset not in cells for offset in range(start, start + len(words))):
            return False
        for offset, word in enumerate(words, start):
            live, index = cells[offset]
            live.write(index, word)
        return True


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Server:
    """The units behind one port; `connections` holds who is connected now."""

    def __init__(self, units: dict[int, Unit], faults: Faults) -> None:
        self.units = units
        self.connections: set[asyncio.StreamWriter] = set()
        self._faults = faults
        self._names = {unit.name for unit in units.values()}
        self._started = asyncio.get_running_loop().time()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one client until it leaves."""
        await self._converse(self._serve_tcp, reader, writer)

    async def handle_rtu(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The same for a client that sends serial frames."""
        await self._converse(self._serve_rtu, reader, writer)

    async def _converse(self, serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        try:
            while not self._faults.refuses(self._names) and await serve(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.connections.discard(writer)
            writer.transport.abort()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        transaction, protocol, length, unit = _HEADER.unpack(await reader.readexactly(7))
        if protocol != 0 or not 2 <= length <= 254:
            return False
        answer = self._answer(unit, await reader.readexactly(length - 1))
        await send(writer, _HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer, self._fault(unit))
        return True

    async def _serve_rtu(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        frame = await reader.readexactly(8)
        if frame[1] in (15, 16):
            frame += await reader.readexactly(frame[6] + 1)
        elif frame[1] == 22:
            frame += await reader.readexactly(2)
        if crc(frame[:-2]) != frame[-2:]:
            return False
        if frame[0] in self.units:  # on a serial line, nothing answers for a missing unit
            answer = frame[:1] + self._answer(frame[0], frame[1:-2])
            await send(writer, answer + crc(answer), self._fault(frame[0]))
        return True

    def _fault(self, unit_id: int) -> Fault | None:
        unit = self.units.get(unit_id)
        return self._faults.of(unit.name) if unit else None

    def _answer(self, unit_id: int, request: bytes) -> bytes:
        function = request[0]
        if (unit := self.units.get(unit_id)) is None:
            return _refusal(function, _NO_SUCH_UNIT)
        if (fault := self._faults.of(unit.name)) and fault.kind == "exception":
            return _refusal(function, fault.code & 0xFF)
        if function in _WRITES:
            return _written(unit, request)
        if function not in _CODES or len(request) != 5:
            return _refusal(function, _ILLEGAL_VALUE if function in _CODES else _ILLEGAL_FUNCTION)
        return self._read(unit, function, request)

    def _read(self, unit: Unit, function: int, request: bytes) -> bytes:
        start, count = struct.unpack(">HH", request[1:])
        bits = function in (1, 2)
        if not 1 <= count <= (2000 if bits else 125):
            return _refusal(function, _ILLEGAL_VALUE)
        words = unit.read(_CODES[function], start, count, asyncio.get_running_loop().time() - self._started)
        if words is None:
            return _refusal(function, _ILLEGAL_ADDRESS)
        data = _packed_bits(words) if bits else struct.pack(f">{count}H", *words)
        return bytes((function, len(data))) + data


@asynccontextmanager
async def serve(devices: Iterable[Device], faults: Faults | None = None) -> AsyncIterator[dict[int, Server]]:
    """Serves while entered; gives the server of each port. Raises OSError when a port is taken."""
    ports: dict[tuple[str, int, str], dict[int, Unit]] = {}
    for device in devices:
        units = ports.setdefault((device.host, device.port, device.protocol), {})
        if device.unit in units:
            raise ValueError(f"{device.name}: unit {device.unit} stands twice on port {device.port}")
        units[device.unit] = Unit(device)
    servers: dict[int, Server] = {}
    async with AsyncExitStack() as stack:
        for (host, port, protocol), units in ports.items():
            server = Server(units, faults or Faults(set()))
            handle = server.handle if protocol == "modbus-tcp" else server.handle_rtu
            serving = listening(handle, host, port, server.connections)
            servers[await stack.enter_async_context(serving)] = server
        yield servers


def _written(unit: Unit, request: bytes) -> bytes:
    function, start = request[0], int.from_bytes(request[1:3], "big")
    if function == 22:
        return _masked(unit, request, start)
    if function == 5:
        words = [int(request[3] == 0xFF)]
    elif function == 6:
        words = [int.from_bytes(request[3:5], "big")]
    elif function == 15:
        count = int.from_bytes(request[3:5], "big")
        words = [request[6 + at // 8] >> at % 8 & 1 for at in range(count)]
    else:
        words = list(struct.unpack(f">{(len(request) - 6) // 2}H", request[6:]))
    table: Table = "coil" if function in (5, 15) else "holding"
    return request[:5] if unit.write(table, start, words) else _refusal(function, _ILLEGAL_ADDRESS)


def _masked(unit: Unit, request: bytes, start: int) -> bytes:
    keep, put = struct.unpack(">HH", request[3:7])
    words = unit.read("holding", start, 1, asyncio.get_running_loop().time())
    if words is None or not unit.write("holding", start, [words[0] & keep | put & ~keep]):
        return _refusal(22, _ILLEGAL_ADDRESS)
    return request


def crc(data: bytes) -> bytes:
    """The check sum of a serial frame."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def _refusal(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def _packed_bits(bits: list[int]) -> bytes:
    return sum(bit << index for index, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
