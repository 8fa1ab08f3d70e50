"""A Modbus peer that answers as told, rightly or not: over TCP, or by the frames of a serial line."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from simulators.modbus import crc
from tests.peer import listening

# Answers one request (unit and PDU) of the connection with this number; None hangs up. Over TCP with PDUs, each a frame
# of its own, as from the unit that was asked; on a serial line with frames.
Answer = Callable[[int, bytes, int], Awaitable[list[bytes] | None]]


@asynccontextmanager
async def peer(
    answer: Answer, *, rtu: bool = False, number: int | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Its port; with `number`, all its transactions have that one."""
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        mine = connections
        while True:
            if rtu:
                frame = await reader.readexactly(8)
                transaction, unit, pdu = 0, frame[0], frame[1:-2]
            else:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
            if (answers := await answer(unit, pdu, mine)) is None:
                return
            for one in answers:
                writer.write(one if rtu else _numbered(transaction if number is None else number, unit, one))

    async with listening(talk, host) as port:
        yield port


def _numbered(number: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu


def registers(pdu: bytes) -> bytes:
    """The answer of a device whose registers hold their own numbers."""
    start, count = struct.unpack(">HH", pdu[1:5])
    return bytes((pdu[0], count * 2)) + struct.pack(f">{count}H", *range(start, start + count))


def serial(unit: int, pdu: bytes) -> bytes:
    """As a frame of a serial line."""
    frame = bytes((unit,)) + pdu
    return frame + crc(frame)
