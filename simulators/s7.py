"""Simulated S7 PLCs: data blocks, markers, inputs and outputs, values from signals."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from simulators.fault import Faults, send
from simulators.line import listening
from simulators.plant import Signal, Wave

_FORMATS = {
    "BYTE": ">B",
    "WORD": ">H",
    "INT": ">h",
    "DWORD": ">I",
    "DINT": ">i",
    "LINT": ">q",
    "REAL": ">f",
    "LREAL": ">d",
}
_AREAS = {0x81: "I", 0x82: "Q", 0x83: "M"}
_CONFIRM = bytes.fromhex("0ed00001000100c0010ac1020100c2020101")
_DATA = bytes.fromhex("02f080")
_GOOD, _OUT_OF_RANGE, _NO_OBJECT = 0xFF, 0x05, 0x0A
_TOO_LARGE = 0x8500


class Point(BaseModel):
    """One value. `area` is I, Q, M or DB and a number; `offset` in bytes; `length` is a STRING's capacity."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    area: str = Field(pattern=r"^([IQM]|DB[0-9]+)$")
    offset: int = Field(ge=0, le=65535)
    bit: int = Field(0, ge=0, le=7)
    type: Literal["BOOL", "BYTE", "WORD", "INT", "DWORD", "DINT", "LINT", "REAL", "LREAL", "STRING"]
    length: int = Field(20, ge=1, le=254)
    signal: Signal

    @property
    def size(self) -> int:
        if self.type == "BOOL":
            return 1
        return self.length + 2 if self.type == "STRING" else struct.calcsize(_FORMATS[self.type])


class Device(BaseModel):
    """One PLC, as described in a simulation file; it grants a PDU of `pdu` bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    protocol: Literal["s7"]
    host: str = "127.0.0.1"
    port: int = Field(10102, ge=0, le=65535)
    pdu: int = Field(480, ge=112, le=960)
    points: list[Point] = Field(min_length=1)


class _Memory:
    """The areas of one PLC; written bytes no longer follow the signals."""

    def __init__(self, device: Device) -> None:
        self._points: dict[str, list[tuple[Point, Wave]]] = {}
        for point in device.points:
            self._points.setdefault(point.area, []).append((point, point.signal.start()))
        self._written: dict[tuple[str, int, int], bool] = {}  # by area, byte and bit

    def read(self, area: str, start: int, count: int, now: float) -> bytes | int:
        """Bytes from `start`, or the code of the refusal."""
        points = self._points.get(area)
        if points is None:
            return _NO_OBJECT
        if start + count > max(point.offset + point.size for point, _ in points):
            return _OUT_OF_RANGE
        data = bytearray(count)
        for point, wave in points:
            if point.offset < start + count and start < point.offset + point.size:
                _put(data, point, wave(now), start)
        for (where, byte, bit), value in self._written.items():
            if where == area and start <= byte < start + count:
                mask = 1 << bit
                data[byte - start] = data[byte - start] | mask if value else data[byte - start] & ~mask
        return bytes(data)

    def write(self, area: str, start: int, data: bytes, bit: int | None) -> int:
        """Sets bytes, or one bit; gives the return code."""
        points = self._points.get(area)
        if points is None:
            return _NO_OBJECT
        if start + len(data) > max(point.offset + point.size for point, _ in points):
            return _OUT_OF_RANGE
        for at, byte in enumerate(data, start):
            for number in range(8) if bit is None else (bit,):
                self._written[area, at, number] = bool(byte >> number & 1) if bit is None else bool(byte)
        return _GOOD


def _put(data: bytearray, point: Point, value: float | str, start: int) -> None:
    if point.type == "BOOL":
        data[point.offset - start] |= bool(value) << point.bit
        return
    if point.type == "STRING":
        text = str(value).encode("latin-1")[: point.length]
        raw = bytes((point.length, len(text))) + text.ljust(point.length, b"\0")
    elif point.type in ("REAL", "LREAL"):
        raw = struct.pack(_FORMATS[point.type], float(value))
    else:
        size = point.size * 8  # integers wrap as a PLC's do
        number = int(float(value)) & ((1 << size) - 1)
        signed = point.type in ("INT", "DINT", "LINT") and number >> (size - 1)
        raw = struct.pack(_FORMATS[point.type], number - (1 << size) if signed else number)
    for at, byte in enumerate(raw, point.offset - start):
        if 0 <= at < len(data):
            data[at] = byte


class Server:
    """One PLC; `connections` holds who is connected now, `jobs` counts the reads and writes."""

    def __init__(self, device: Device, faults: Faults) -> None:
        self.connections: set[asyncio.StreamWriter] = set()
        self.jobs = 0
        self._device = device
        self._memory = _Memory(device)
        self._faults = faults
        self._started = asyncio.get_running_loop().time()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one client until it leaves."""
        self.connections.add(writer)
        try:
            pdu = self._device.pdu
            while not self._faults.refuses({self._device.name}):
                version, _, length = struct.unpack(">BBH", await reader.readexactly(4))
                frame = await reader.readexactly(length - 4)
                if version != 3:
                    return
                if frame[1] == 0xE0:
                    answer = _CONFIRM
                elif frame[:3] == _DATA and frame[13:14] == b"\xf0":
                    pdu = min(pdu, int.from_bytes(frame[19:21], "big"))
                    answer = _DATA + _answered(frame[3:], bytes.fromhex("f0000001 0001") + pdu.to_bytes(2, "big"))
                else:
                    answer = _DATA + self._job(frame[3:], pdu)
                packet = struct.pack(">BBH", 3, 0, len(answer) + 4) + answer
                await send(writer, packet, self._faults.of(self._device.name))
        except (asyncio.IncompleteReadError, ConnectionError, IndexError, struct.error):
            return
        finally:
            self.connections.discard(writer)
            writer.transport.abort()

    def _job(self, request: bytes, pdu: int) -> bytes:
        self.jobs += 1
        fault = self._faults.of(self._device.name)
        if fault is not None and fault.kind == "exception":
            return _answered(request, b"", error=fault.code)
        function, count = request[10], request[11]
        items = [_Item(request[12 + 12 * at : 24 + 12 * at]) for at in range(count)]
        if function == 4:
            answer = _answered(request, bytes((4, count)), self._read(items))
        elif function == 5:
            answer = _answered(request, bytes((5, count)), self._write(items, request[12 + 12 * count :]))
        else:
            answer = _answered(request, b"", error=0x8104)
        return answer if len(answer) <= pdu else _answered(request, b"", error=_TOO_LARGE)

    def _read(self, items: "list[_Item]") -> bytes:
        now, data = asyncio.get_running_loop().time() - self._started, b""
        for item in items:
            found = self._memory.read(item.area, item.start, item.count, now)
            if isinstance(found, int):
                data += bytes((found, 0, 0, 4))
            else:
                data += struct.pack(">BBH", _GOOD, 4, len(found) * 8) + found + b"\0" * (len(found) % 2)
        return data

    def _write(self, items: "list[_Item]", data: bytes) -> bytes:
        codes = b""
        for item in items:
            size = item.count
            codes += bytes((self._memory.write(item.area, item.start, data[4 : 4 + size], item.bit),))
            data = data[4 + size + size % 2 :]
        return codes


class _Item:
    """What one item of a job names; `bit` only if it is a single one."""

    def __init__(self, specification: bytes) -> None:
        kind, self.count, block, area = struct.unpack_from(">BHHB", specification, 3)
        address = int.from_bytes(specification[9:12], "big")
        self.area = f"DB{block}" if area == 0x84 else _AREAS.get(area, "?")
        self.start = address >> 3
        self.bit = address & 7 if kind == 1 else None


def _answered(request: bytes, parameters: bytes, data: bytes = b"", error: int = 0) -> bytes:
    head = struct.pack(">BBH2sHHH", 0x32, 3, 0, request[4:6], len(parameters), len(data), error)
    return head + parameters + data


@asynccontextmanager
async def serve(devices: Iterable[Device], faults: Faults | None = None) -> AsyncIterator[dict[int, Server]]:
    """Serves while entered; gives the server of each port. Raises OSError when a port is taken."""
    servers: dict[int, Server] = {}
    async with AsyncExitStack() as stack:
        for device in devices:
            server = Server(device, faults or Faults(set()))
            serving = listening(server.handle, device.host, device.port, server.connections)
            servers[await stack.enter_async_context(serving)] = server
        yield servers
