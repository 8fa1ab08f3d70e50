"""Answers on a Modbus connection: which are taken."""

import asyncio
import time
from typing import Any

import pytest

from gateway.drivers.modbus.wire import AnswerTimeoutError, Tcp, Wire, reading

REQUEST = reading(3, 0, 1)
STALE, FRESH = bytes((3, 2, 0, 1)), bytes((3, 2, 0, 2))


class Sent(asyncio.WriteTransport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []

    def write(self, data: Any) -> None:
        self.frames.append(bytes(data))


@pytest.mark.parametrize("numbered", [True, False])
async def test_an_answer_from_before_a_suspension_is_not_taken(numbered: bool) -> None:
    """The event loop runs sockets before timers, and so hears of the answer before it knows that the time is over."""
    sent = Sent()
    wire = Wire(Tcp("plc", 502, numbered=numbered))
    wire.connection_made(sent)
    wire.send(1, REQUEST)
    waiting = asyncio.create_task(wire.answer(1, REQUEST, 0.05))
    await asyncio.sleep(0)
    time.sleep(0.1)  # suspended
    wire.data_received(answer(sent.frames[0], STALE, numbered))
    with pytest.raises(AnswerTimeoutError):
        await waiting
    wire.send(1, REQUEST, again=True)
    waiting = asyncio.create_task(wire.answer(1, REQUEST, 5))
    await asyncio.sleep(0)
    wire.data_received(answer(sent.frames[1], FRESH, numbered))
    assert await waiting == FRESH


async def test_an_answer_that_came_before_its_question_is_not_taken() -> None:
    sent = Sent()
    wire = Wire(Tcp("plc", 502))
    wire.connection_made(sent)
    wire.send(1, REQUEST)
    early = bytes((0, 2)) + answer(sent.frames[0], STALE, True)[2:]
    wire.data_received(answer(sent.frames[0], FRESH, True) + early)
    assert await wire.answer(1, REQUEST, 5) == FRESH
    wire.send(1, REQUEST)
    waiting = asyncio.create_task(wire.answer(1, REQUEST, 5))
    await asyncio.sleep(0)
    wire.data_received(answer(sent.frames[1], FRESH, True))
    assert await waiting == FRESH


def answer(frame: bytes, pdu: bytes, numbered: bool) -> bytes:
    return (frame[:2] if numbered else bytes(2)) + bytes((0, 0, 0, len(pdu) + 1, frame[6])) + pdu
