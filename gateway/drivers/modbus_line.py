"""Connections to Modbus devices, shared by the units behind each. The only file that knows pymodbus."""

import asyncio
import logging
import struct
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ModbusException, ModbusIOException
from pymodbus.framer import FramerType
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
)

from gateway.driver import DeviceError
from gateway.drivers.modbus_address import BITS, Table

_UNANSWERED = 1_000_000_000  # the connection is not closed because a unit is silent: others answer there
_READS: dict[Table, tuple[str, int]] = {
    "coil": ("read_coils", 1),
    "discrete": ("read_discrete_inputs", 2),
    "holding": ("read_holding_registers", 3),
    "input": ("read_input_registers", 4),
}

# It logs what it also raises, and each late answer.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class _Registers(ReadHoldingRegistersResponse):
    """The library reads registers one by one, and describes each answer for a log that nobody reads."""

    def decode(self, data: bytes) -> None:
        size = data[0]
        if size >= len(data):
            raise ModbusIOException("the answer is too short", function_code=self.function_code)
        self.registers = struct.unpack_from(f">{size // 2}H", data, 1)

    def __str__(self) -> str:
        return type(self).__name__


class _InputRegisters(_Registers):
    function_code = 4


DecodePDU.add_pdu(ReadHoldingRegistersRequest, _Registers)
DecodePDU.add_pdu(ReadInputRegistersRequest, _InputRegisters)


@dataclass(frozen=True)
class Tcp:
    """A device, or a converter to serial ones; with `rtu` frames travel as they do on a serial line."""

    host: str
    port: int
    rtu: bool = False

    remedy = "is it on, and is the port right?"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Serial:
    """A serial port of this machine."""

    path: str
    baudrate: int
    data_bits: int
    parity: str
    stop_bits: int

    remedy = "is the adapter plugged in, and may this user open it (group dialout)?"

    def __str__(self) -> str:
        return self.path


class Refusal(Exception):  # noqa: N818  an answer, not an error of ours
    """The unit answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Line:
    """One connection. Its units take turns; one that does not answer costs the others its timeout, and no more."""

    def __init__(self, where: Tcp | Serial) -> None:
        self._where = where
        self._turn = asyncio.Lock()
        self._waiting: asyncio.Task[object] | None = None  # whoever waits for an answer
        self._stale = False  # an answer that is not awaited any more may still come
        self._client = self._made()
        self._opening = asyncio.create_task(self._open(), name=f"open {where}")
        self.lost = False
        self.users = 0

    async def opened(self) -> None:
        """Waits for the connection. Raises DeviceError."""
        await asyncio.shield(self._opening)

    def close(self) -> None:
        """Lets go of the connection."""
        self.lost = True
        self._opening.cancel()
        self._client.close()

    async def read(self, unit: int, table: Table, start: int, count: int, pace: "Pace") -> Sequence[int]:
        """Registers, or bits, from `start`. Raises Refusal and DeviceError."""
        function, code = _READS[table]
        async with self._turn:
            answer = await self._answer(function, start, unit, pace, count=count)
        words = answer.bits[:count] if table in BITS else answer.registers
        if answer.function_code != code or len(words) != count:
            raise DeviceError(f"unit {unit} answered something else than was asked")
        return words

    async def write_coil(self, unit: int, start: int, value: bool, pace: "Pace") -> None:
        """Sets one coil. Raises Refusal and DeviceError."""
        async with self._turn:
            await self._answer("write_coil", start, unit, pace, value=value)

    async def write_registers(self, unit: int, start: int, words: list[int], pace: "Pace") -> None:
        """Sets holding registers; a single one by the function that all devices have. Raises Refusal, DeviceError."""
        async with self._turn:
            if len(words) == 1:
                await self._answer("write_register", start, unit, pace, value=words[0])
            else:
                await self._answer("write_registers", start, unit, pace, values=words)

    async def write_bit(self, unit: int, start: int, mask: int, value: bool, pace: "Pace") -> None:
        """Sets one bit of a holding register, in one turn. Raises Refusal and DeviceError."""
        async with self._turn:
            answer = await self._answer("read_holding_registers", start, unit, pace, count=1)
            word = answer.registers[0] | mask if value else answer.registers[0] & ~mask
            await self._answer("write_register", start, unit, pace, value=word)

    async def _answer(self, function: str, start: int, unit: int, pace: "Pace", **rest: object) -> ModbusPDU:
        """One request and its answer; the turn is ours."""
        if pace.delay:
            await asyncio.sleep(pace.delay)
        if self._stale:
            await self._reopen()
        if self.lost:
            raise DeviceError(f"{self._where} closed the connection")
        self._waiting = asyncio.current_task()
        self._stale = self._frames_carry_no_number
        client = self._client
        client.ctx.comm_params.timeout_connect = pace.timeout  # it waits for answers so long, too
        try:
            answer: ModbusPDU = await getattr(client, function)(start, device_id=unit, **rest)
        except asyncio.CancelledError:
            if self._waiting is None:  # cancelled by `_changed`, and by nobody else unless the count says so
                task = asyncio.current_task()
                if task is not None and task.uncancel() == 0:
                    raise DeviceError(f"{self._where} closed the connection") from None
            raise
        except ModbusException as error:
            if "No response" in str(error):
                raise DeviceError(f"no answer from unit {unit} within {pace.timeout:g} s") from None
            raise DeviceError(f"the answer for unit {unit} makes no sense: {error}") from error
        finally:
            self._waiting = None
        self._stale = False
        if answer.isError():
            raise Refusal(answer.exception_code)
        return answer

    @property
    def _frames_carry_no_number(self) -> bool:
        """On serial lines a late answer would be taken for the next one's: the connection is made anew instead."""
        return isinstance(self._where, Serial) or self._where.rtu

    def _made(self) -> ModbusBaseClient:
        client = _client(self._where, self._changed)
        client.set_max_no_responses(_UNANSWERED)
        return client

    async def _open(self) -> None:
        try:
            connected = await self._client.connect()
        except (ValueError, termios.error) as error:
            self.lost = True
            raise DeviceError(f"{self._where} does not take these settings: {error}") from error
        if not connected:
            self.lost = True
            raise DeviceError(f"no connection to {self._where}: {self._where.remedy}")

    async def _reopen(self) -> None:
        self._client.close()
        self._client = self._made()
        await self._open()
        self._stale = False

    def _changed(self, up: bool) -> None:
        """pymodbus does not tell whoever waits that the connection was lost."""
        if not up and not self.lost:
            self.lost = True
            if (waiting := self._waiting) is not None:
                self._waiting = None
                waiting.cancel()


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: how long an answer may take, and how long to rest before each request."""

    timeout: float
    delay: float = 0.0


def _client(where: Tcp | Serial, changed: Callable[[bool], None]) -> ModbusBaseClient:
    common = {"retries": 0, "reconnect_delay": 0, "trace_connect": changed}
    if isinstance(where, Tcp):
        framer = FramerType.RTU if where.rtu else FramerType.SOCKET
        return AsyncModbusTcpClient(where.host, port=where.port, framer=framer, **common)  # type: ignore[arg-type]
    return AsyncModbusSerialClient(
        where.path,
        baudrate=where.baudrate,
        bytesize=where.data_bits,
        parity=where.parity[0].upper(),
        stopbits=where.stop_bits,
        **common,  # type: ignore[arg-type]
    )


_lines: dict[tuple[asyncio.AbstractEventLoop, Tcp | Serial], Line] = {}


@asynccontextmanager
async def shared(where: Tcp | Serial) -> AsyncIterator[Line]:
    """The connection to `where`, made if nobody has it yet, and closed with its last user. Raises DeviceError."""
    key = (asyncio.get_running_loop(), where)
    line = _lines.get(key)
    if line is None or line.lost:
        line = _lines[key] = Line(where)
    line.users += 1
    try:
        await line.opened()
        yield line
    finally:
        line.users -= 1
        if not line.users:
            line.close()
            if _lines.get(key) is line:
                del _lines[key]
