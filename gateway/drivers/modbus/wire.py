"""One Modbus connection: sends requests as frames, and accepts only what must be their answer."""

import asyncio
import struct
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pymodbus.framer.rtu import FramerRTU
from pymodbus.transport.serialtransport import create_serial_connection

from gateway.drivers import reach
from gateway.drivers.driver import DeviceError
from gateway.drivers.modbus import deadlines

_HEADER = struct.Struct(">HHHB")  # transaction, protocol, length of what follows, unit
_MOST_UNREAD = 4096  # bytes; whatever sends more than that unasked is not a Modbus device
_FRAMING = 3  # bytes of a serial frame beside its PDU: unit and check sum
_NUMBERS = 0xFFFF  # transactions are numbered from 1


@dataclass(frozen=True)
class Tcp:
    """A device, or a converter to serial ones; with `rtu` frames travel as they do on a serial line.

    `numbered` is False for a converter that answers every transaction with number 0.
    """

    host: str
    port: int
    rtu: bool = False
    numbered: bool = True

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

    numbered = False
    rtu = True
    remedy = "is the adapter plugged in, and may this user open it (group dialout)?"

    def __str__(self) -> str:
        return self.path

    @property
    def silence(self) -> float:
        """Seconds between two frames, by which devices tell them apart: 3.5 characters."""
        bits = 1 + self.data_bits + (self.parity != "none") + self.stop_bits
        return max(3.5 * bits / self.baudrate, 0.00175)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what an answer that takes it begins with, and how long that is."""

    pdu: bytes
    head: bytes
    size: int
    repeatable: bool = False
    words: Callable[[bytes], Sequence[int]] = lambda _: ()  # that it gives; or values, where they are read in place

    def fits(self, answer: bytes) -> bool:
        """Whether this can only be the answer, or the unit's refusal."""
        if len(answer) == 2 and answer[0] == self.pdu[0] | 0x80:
            return True
        return len(answer) == self.size and answer.startswith(self.head)


def reading(function: int, start: int, count: int) -> Request:
    """Asks for bits (functions 1 and 2) or registers (3 and 4)."""
    size = (count + 7) // 8 if function < 3 else count * 2
    words = partial(_bits, count) if function < 3 else struct.Struct(f">xx{count}H").unpack
    pdu = struct.pack(">BHH", function, start, count)
    return Request(pdu, bytes((function, size)), size + 2, repeatable=True, words=words)


def _bits(count: int, answer: bytes) -> list[int]:
    return [answer[2 + at // 8] >> at % 8 & 1 for at in range(count)]


def writing(function: Literal[5, 6], start: int, word: int) -> Request:
    """Sets one coil or one register; the answer repeats it."""
    pdu = struct.pack(">BHH", function, start, word)
    return Request(pdu, pdu, len(pdu))


def writing_many(start: int, words: list[int]) -> Request:
    """Sets registers."""
    count = len(words)
    pdu = struct.pack(f">BHHB{count}H", 16, start, count, count * 2, *words)
    return Request(pdu, pdu[:5], 5)


def masking(start: int, keep: int, put: int) -> Request:
    """Changes some bits of a register, inside the device; the answer repeats it."""
    pdu = struct.pack(">BHHH", 22, start, keep, put)
    return Request(pdu, pdu, len(pdu))


class AnswerTimeoutError(Exception):
    """No answer came in time; `noise` if something else did."""

    def __init__(self, noise: bool) -> None:
        super().__init__(noise)
        self.noise = noise


class ConnectionClosedError(Exception):
    """The other side closed the connection."""


class Wire(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, where: Tcp | Serial) -> None:
        self._where = where
        self._loop = asyncio.get_running_loop()
        self._deadlines = deadlines.shared()
        self._numbered = where.numbered and not where.rtu
        self._find = self._find_rtu if where.rtu else self._find_tcp
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self._number = 0
        self._asked: dict[int, Request] = {}  # by transaction
        self._awaited: tuple[int, Request] | None = None  # the unit and request whose answer is awaited
        self._outcome: asyncio.Future[bytes | Exception | None] = self._loop.create_future()
        self._heard = self._due = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._awaited is not None and self._heard > self._due:  # we were suspended: this is an old answer
            self._forget_asked()
            if not self._numbered:
                return
        self._buffer += data
        if self._awaited is not None and not self._outcome.done():
            try:
                if (found := self._find(*self._awaited)) is not None:
                    self._outcome.set_result(found)
            except DeviceError as error:
                self._outcome.set_result(error)
        if len(self._buffer) > _MOST_UNREAD:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        if not self._outcome.done():
            self._outcome.set_result(ConnectionClosedError())

    def close(self) -> None:
        """Lets go of the connection at once."""
        if self._transport is not None:
            self._transport.close()
        self.connection_lost(None)

    def _forget_asked(self) -> None:
        """From now on an answer to the last request is discarded."""
        self._asked.clear()
        if not self._numbered:
            self._buffer.clear()  # nothing received so far can be the next answer

    def silence(self) -> float:
        """Seconds until the next frame may be sent, on a serial line."""
        return self._heard + self._where.silence - self._loop.time() if isinstance(self._where, Serial) else 0.0

    def send(self, unit: int, request: Request, *, again: bool = False) -> None:
        """Sends a request; `again` while the answer to its first sending is still welcome."""
        if self.closed or self._transport is None:
            raise ConnectionClosedError
        if not again:
            self._forget_asked()
            if self._buffer:
                self._find(unit, request)  # drops what came before it was asked for
        self._number = self._number % _NUMBERS + 1
        self._asked[self._number] = request
        if self._where.rtu:
            self._transport.write(_framed(unit, request.pdu))
        else:
            self._transport.write(_HEADER.pack(self._number, 0, len(request.pdu) + 1, unit) + request.pdu)

    async def answer(self, unit: int, request: Request, seconds: float) -> bytes:
        """The answer to what was sent.

        Raises AnswerTimeoutError, ConnectionClosedError, and DeviceError for an answer that cannot be right.
        """
        if self._buffer and (found := self._find(unit, request)) is not None:
            return found
        if self.closed:
            raise ConnectionClosedError
        self._outcome = outcome = self._loop.create_future()
        self._awaited = unit, request
        self._due = self._loop.time() + seconds
        step = self._deadlines.add(outcome, self._due)
        try:
            came = await outcome
        finally:
            self._awaited = None
            self._deadlines.remove(outcome, step)
        if isinstance(came, bytes):
            return came
        raise came or AnswerTimeoutError(noise=bool(self._buffer))

    def _find_tcp(self, unit: int, request: Request) -> bytes | None:
        buffer = self._buffer
        while len(buffer) >= _HEADER.size:
            number, protocol, length, from_unit = _HEADER.unpack_from(buffer)
            if protocol != 0 or not 3 <= length <= 254:
                raise DeviceError(f"unit {unit}: what came is not Modbus TCP")
            if len(buffer) < 6 + length:
                return None
            pdu = bytes(buffer[7 : 6 + length])
            del buffer[: 6 + length]
            if number not in self._asked and (number != 0 or self._where.numbered):
                continue  # a late answer to an earlier request
            if from_unit != unit or not request.fits(pdu):
                raise DeviceError(f"unit {unit} gave an answer that does not match the request")
            return pdu
        return None

    def _find_rtu(self, unit: int, request: Request) -> bytes | None:
        """Looks through noise, and through an echo of what we sent, for a frame that fits and has its check sum."""
        buffer = self._buffer
        if request.repeatable and (echo := buffer.find(_framed(unit, request.pdu))) >= 0:
            del buffer[: echo + len(request.pdu) + _FRAMING]
        for head, size in ((request.head, request.size), (bytes((request.pdu[0] | 0x80,)), 2)):
            start = -1
            while (start := buffer.find(bytes((unit,)) + head, start + 1)) >= 0:
                frame = bytes(buffer[start : start + size + _FRAMING])
                if len(frame) == size + _FRAMING and _crc(frame[:-2]) == frame[-2:]:
                    buffer.clear()
                    return frame[1:-2]
        # Bytes are examined once: noise that comes byte by byte would cost more and more.
        del buffer[: max(0, len(buffer) - max(request.size, len(request.pdu)) - _FRAMING + 1)]
        return None


def _framed(unit: int, pdu: bytes) -> bytes:
    frame = bytes((unit,)) + pdu
    return frame + _crc(frame)


def _crc(data: bytes) -> bytes:
    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


async def connected(where: Tcp | Serial) -> Wire:
    """A connection, for as long as it takes. Raises DeviceError."""
    loop = asyncio.get_running_loop()
    wire = Wire(where)
    try:
        if isinstance(where, Tcp):
            await loop.create_connection(lambda: wire, where.host, where.port)
        else:
            transport, _ = await create_serial_connection(
                loop,
                lambda: wire,
                where.path,
                baudrate=where.baudrate,
                bytesize=where.data_bits,
                parity=where.parity[0].upper(),
                stopbits=where.stop_bits,
            )
            wire.connection_made(transport)
    except (ValueError, termios.error) as error:
        raise DeviceError(f"{where} does not take these settings: {error}") from error
    except OSError as error:
        raise DeviceError(f"no connection to {where}: {remedy(where, error)}", kind=reach.kind(error)) from error
    return wire


def remedy(where: Tcp | Serial, error: Exception) -> str:
    """What to check when there is no connection."""
    return (reach.reason(error) if isinstance(where, Tcp) else None) or where.remedy
