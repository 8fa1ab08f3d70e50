"""Modbus lines that lose, delay, garble, echo and hang up: what is read from them is right, or is not there."""

import asyncio
import os
import pty
import struct
import tty
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Any

import pytest

from gateway.drivers.blocks import AdaptivePlan
from gateway.drivers.driver import Device, DeviceError, Tag, WriteError
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.modbus import session as modbus_session
from gateway.drivers.modbus import wire as modbus_wire
from gateway.drivers.modbus.address import Address
from gateway.drivers.modbus.settings import RtuSettings, RtuTcpSettings, Settings, TcpSettings
from nexus.contract.reading import Quality
from tests.modbus_peer import peer, registers, serial


def device(
    port: int, addresses: list[str], timeout: float = 0.6, *, rtu: bool = False, **keys: object
) -> Device[Settings, Address]:
    model = RtuTcpSettings if rtu else TcpSettings
    settings = model.model_validate({"host": "127.0.0.1", "port": port, "addressing": "zero", "gap": 0, **keys})
    tags = tuple(Tag(text, modbus.parse_address(text, settings)) for text in addresses)
    return Device("plc", "plc", "modbus-rtu-tcp" if rtu else "modbus-tcp", timeout, settings, tags)


async def scans(plc: Device[Settings, Address], times: int = 1) -> list[dict[str, Any]]:
    found = []
    async with modbus.connect(plc) as link:
        read = link.compile(plc.tags)
        for _ in range(times):
            readings = await read()
            found.append({r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings})
    return found


FAR = ["holding:100:uint16", "holding:300:uint16", "holding:500:uint16", "holding:700:uint16"]
RIGHT = {text: int(text.split(":")[1]) for text in FAR}


async def test_a_number_that_was_not_sent_is_not_believed() -> None:
    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        return [registers(pdu)]

    async with peer(answer, number=0) as port:
        with pytest.raises(DeviceError, match="no answer"):
            await scans(device(port, FAR))
        assert await scans(device(port, FAR, transaction_ids="zero")) == [RIGHT]


@pytest.mark.parametrize("rtu", [False, True])
async def test_without_numbers_a_late_answer_is_not_the_next_ones(rtu: bool) -> None:
    delays = iter([0.3])

    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        await asyncio.sleep(next(delays, 0))
        return [serial(unit, registers(pdu)) if rtu else registers(pdu)]

    async with peer(answer, rtu=rtu, number=0) as port:
        keys = {} if rtu else {"transaction_ids": "zero"}
        plc = device(port, FAR, 0.2, rtu=rtu, **keys)
        async with modbus.connect(plc) as link:
            with pytest.raises(DeviceError, match="no answer"):
                await link.compile(plc.tags[:1])()
            for tag in plc.tags:
                assert [reading.value for reading in await link.compile([tag])()] == [RIGHT[tag.name]]


@pytest.mark.parametrize(
    "garbled",
    [
        lambda pdu: registers(pdu)[:-1],
        lambda pdu: bytes((pdu[0], 3)) + b"\0\1\2",  # an odd count
        lambda pdu: bytes((pdu[0], 4)) + b"\0\1\2\3",
        lambda pdu: bytes((pdu[0] + 1, 2)) + b"\0\1",
        lambda pdu: pdu,  # an echo
        lambda pdu: bytes((pdu[0] | 0x80,)),
        lambda pdu: bytes((pdu[0] | 0x80, 2, 0)),
    ],
)
@pytest.mark.parametrize("rtu", [False, True])
async def test_an_answer_of_another_shape_is_not_believed(garbled: Callable[[bytes], bytes], rtu: bool) -> None:
    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        return [serial(unit, garbled(pdu)) if rtu else garbled(pdu)]

    with pytest.raises(DeviceError):
        async with peer(answer, rtu=rtu) as port:
            await scans(device(port, FAR[:1], 0.2, rtu=rtu))


async def test_another_units_answer_is_not_believed() -> None:
    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        return [serial(unit + 1, registers(pdu))]

    with pytest.raises(DeviceError, match="nothing that makes sense from unit 1"):
        async with peer(answer, rtu=True) as port:
            await scans(device(port, FAR[:1], 0.2, rtu=True))


@pytest.mark.parametrize("before", [b"\x00", b"\xff\x01", bytes(300), b"\x01\x03\x02"])
async def test_a_serial_line_finds_the_answer_behind_noise(before: bytes) -> None:
    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        return [before + serial(unit, registers(pdu))]

    async with peer(answer, rtu=True) as port:
        assert await scans(device(port, FAR, rtu=True), times=3) == [RIGHT] * 3


async def test_an_echo_is_no_answer_even_if_it_looks_like_one() -> None:
    """The request for 24 coils from 0x0300 is, byte by byte, an answer of three bytes."""

    async def echo(unit: int, pdu: bytes, _: int) -> list[bytes]:
        return [serial(unit, pdu)]

    async def echo_and_answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        return [serial(unit, pdu), serial(unit, bytes((1, 3, 0, 0, 0x80)))]

    addresses = ["coil:768", "coil:791"]
    async with peer(echo, rtu=True) as port:
        with pytest.raises(DeviceError, match="no answer"):
            await scans(device(port, addresses, 0.2, rtu=True, gap=30))
    async with peer(echo_and_answer, rtu=True) as port:
        assert await scans(device(port, addresses, rtu=True, gap=30)) == [{"coil:768": False, "coil:791": True}]


@pytest.mark.parametrize("rtu", [False, True])
async def test_a_lost_answer_is_asked_for_once_more(rtu: bool) -> None:
    asked = 0

    async def answer(unit: int, pdu: bytes, _: int) -> list[bytes]:
        nonlocal asked
        asked += 1
        return [] if asked % 3 == 0 else [serial(unit, registers(pdu)) if rtu else registers(pdu)]

    async with peer(answer, rtu=rtu) as port:
        assert await scans(device(port, FAR, 0.3, rtu=rtu), times=3) == [RIGHT] * 3


async def test_a_block_that_is_lost_costs_its_own_tags_only() -> None:
    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        return [] if pdu[1:3] == struct.pack(">H", 300) else [registers(pdu)]

    async with peer(answer) as port:
        assert await scans(device(port, FAR, 0.3), times=2) == [{**RIGHT, FAR[1]: Quality.BAD}] * 2


def test_what_was_read_before_a_failure_is_not_lost() -> None:
    async def answer(_: int, pdu: bytes, __: int) -> list[bytes] | None:
        return [bytes((0x83, 6))] if pdu[1:3] == struct.pack(">H", 500) else [registers(pdu)]

    async def scenario() -> None:
        async with peer(answer) as port:
            await scans(device(port, FAR))

    with pytest.raises(DeviceError, match="device busy") as caught:
        asyncio.run(scenario())
    assert {reading.tag: reading.value for reading in caught.value.readings} == {text: RIGHT[text] for text in FAR[:2]}


async def test_a_device_that_hangs_up_after_each_answer_is_read_all_the_same() -> None:
    asked: dict[int, int] = {}

    async def answer(_: int, pdu: bytes, connection: int) -> list[bytes] | None:
        asked[connection] = asked.get(connection, 0) + 1
        return [registers(pdu)] if asked[connection] == 1 else None

    async with peer(answer) as port:
        assert await scans(device(port, FAR), times=3) == [RIGHT] * 3


async def test_on_a_serial_line_a_late_answer_is_not_another_devices_of_the_same_unit() -> None:
    master, slave = pty.openpty()
    for end in (master, slave):
        tty.setraw(end)
    loop, waiting, free_at = asyncio.get_running_loop(), bytearray(), 0.0
    delays: list[float] = []

    def on_request() -> None:
        """Answers one request after the other, as a PLC does."""
        nonlocal free_at
        waiting.extend(os.read(master, 1000))
        while len(waiting) >= 8:
            frame = bytes(waiting[:8])
            del waiting[:8]
            free_at = max(free_at, loop.time()) + (delays.pop() if delays else 0.02)
            loop.call_at(free_at, os.write, master, serial(frame[0], registers(frame[1:-2])))

    line: Settings = RtuSettings.model_validate(
        {"serial": os.ttyname(slave), "unit": 1, "addressing": "zero", "parity": "none"}
    )
    one, two = (
        Device(name, name, "modbus-rtu", 0.3, line, (Tag(text, modbus.parse_address(text, line)),))
        for name, text in (("one", FAR[0]), ("two", FAR[1]))
    )
    loop.add_reader(master, on_request)
    try:
        async with modbus.connect(one) as first, modbus.connect(two) as second:
            reads = [first.compile(one.tags), second.compile(two.tags)]
            for read in reads:
                await read()
            delays.append(0.65)  # also after its repetition
            late, other = await asyncio.gather(*(read() for read in reads), return_exceptions=True)
            assert isinstance(late, DeviceError)
            assert isinstance(other, list)
            assert [reading.value for reading in other] == [300]
            assert [reading.value for read in reads for reading in await read()] == [100, 300]
    finally:
        loop.remove_reader(master)
        for end in (master, slave):
            os.close(end)


async def test_what_is_refused_for_a_moment_is_read_at_once_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PLC that boots refuses what it has a moment later."""
    monkeypatch.setattr(modbus_session, "AdaptivePlan", partial(AdaptivePlan, pause=0.05))
    booting, asked = True, 0

    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        nonlocal asked
        asked += 1
        return [bytes((0x83, 2))] if booting else [registers(pdu)]

    async with peer(answer) as port:
        plc = device(port, [f"holding:{at}:uint16" for at in range(16)])
        async with modbus.connect(plc) as link:
            read = link.compile(plc.tags)
            assert {reading.quality for reading in await read()} == {Quality.BAD}
            booting = False
            await asyncio.sleep(0.06)
            await read()
            asked = 0
            assert [reading.value for reading in await read()] == list(range(16))
            assert asked == 1


def test_a_bit_is_written_inside_the_device() -> None:
    written: list[bytes] = []

    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        written.append(pdu)
        return [pdu]

    async def scenario() -> None:
        async with peer(answer) as port:
            plc = device(port, ["holding:5.3:bool"])
            async with modbus.connect(plc) as link:
                assert await link.write(plc.tags[0], True) is True
                assert await link.write(plc.tags[0], False) is False

    asyncio.run(scenario())
    assert written == [struct.pack(">BHHH", 22, 5, 0xFFF7, 8), struct.pack(">BHHH", 22, 5, 0xFFF7, 0)]


async def test_a_bit_is_not_written_at_the_risk_of_its_neighbours() -> None:
    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        return [bytes((pdu[0] | 0x80, 1))]

    with pytest.raises(WriteError, match=r"no function 22 \(mask write\)"):
        async with peer(answer) as port:
            plc = device(port, ["holding:5.3:bool"])
            async with modbus.connect(plc) as link:
                await link.write(plc.tags[0], True)


def test_a_write_is_sent_once() -> None:
    """Not knowing whether it was done is better than doing it twice."""
    written = 0

    async def answer(_: int, __: bytes, ___: int) -> list[bytes]:
        nonlocal written
        written += 1
        return []

    async def scenario() -> None:
        async with peer(answer) as port:
            plc = device(port, FAR[:1], 0.2)
            async with modbus.connect(plc) as link:
                with pytest.raises(DeviceError, match="no answer"):
                    await link.write(plc.tags[0], 1)
                await asyncio.sleep(0.2)

    asyncio.run(scenario())
    assert written == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(8192), b"\xff" * 5000])
async def test_what_is_not_modbus_ends_the_connection(data: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(12)
        writer.write(data)
        await writer.drain()
        writer.transport.abort()

    with pytest.raises(DeviceError):
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            await scans(device(server.sockets[0].getsockname()[1], FAR[:1], 0.3))
        finally:
            server.close()


def test_noise_that_comes_byte_by_byte_does_not_hold_up_the_others() -> None:
    """Each byte was reason to search all that had come, and every place of it may be an answer's beginning."""
    request = modbus_wire.reading(3, 0, 1)
    request = replace(request, head=bytes((3,)), size=252)

    async def scenario() -> float:
        wire = modbus_wire.Wire(modbus_wire.Tcp("", 0, rtu=True, numbered=False))
        began = process_time()
        for _ in range(4000):
            wire.data_received(b"\3")
            assert wire._find_rtu(3, request) is None
        return process_time() - began

    assert asyncio.run(scenario()) < 10
