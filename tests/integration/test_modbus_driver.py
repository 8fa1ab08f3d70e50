"""The Modbus driver against servers on real sockets: our simulator, and peers that misbehave."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.driver import Device, DeviceError, Tag
from gateway.drivers import modbus
from nexus.contract.reading import Quality
from simulators import modbus as simulator

POINTS: list[dict[str, Any]] = [
    {"table": "holding", "offset": 0, "type": "float32", "signal": {"kind": "constant", "value": 84.5}},
    {"table": "holding", "offset": 2, "type": "int16", "signal": {"kind": "constant", "value": -2}},
    {"table": "holding", "offset": 3, "type": "uint64", "signal": {"kind": "constant", "value": 2**53 - 1}},
    {
        "table": "holding",
        "offset": 10,
        "type": "string",
        "length": 7,
        "signal": {"kind": "constant", "value": "filling"},
    },
    {"table": "holding", "offset": 20, "type": "uint16", "signal": {"kind": "constant", "value": 0b1000}},
    {"table": "input", "offset": 0, "type": "float64", "signal": {"kind": "constant", "value": 0.1}},
    {"table": "coil", "offset": 0, "type": "bool", "signal": {"kind": "constant", "value": 1}},
    {"table": "coil", "offset": 9, "type": "bool", "signal": {"kind": "constant", "value": 1}},
    *(
        {"table": "coil", "offset": at, "type": "bool", "signal": {"kind": "constant", "value": 0}}
        for at in range(1, 9)
    ),
    {"table": "discrete", "offset": 0, "type": "bool", "signal": {"kind": "constant", "value": 0}},
]
TAGS = {
    "temperature": ("holding:40001:float32", 84.5),
    "offset": ("holding:40003:int16", -2),
    "energy": ("holding:40004:uint64", 2**53 - 1),
    "step": ("holding:40011:string(7)", "filling"),
    "alarm": ("holding:40021.3:bool", True),
    "calm": ("holding:40021.4:bool", False),
    "ratio": ("input:30001:float64", 0.1),
    "running": ("coil:1:bool", True),
    "stopped": ("coil:2:bool", False),
    "ready": ("coil:10:bool", True),
    "door": ("discrete:10001:bool", False),
}


def device(port: int, addresses: dict[str, str], timeout: float = 1.0, **keys: object) -> Device:
    settings = modbus.Settings.model_validate({"host": "127.0.0.1", "port": port, **keys})
    tags = tuple(Tag(name, modbus.parse_address(address, settings)) for name, address in addresses.items())
    return Device("plc", "plc", "modbus-tcp", timeout, settings, tags)


def simulated(**keys: object) -> simulator.Device:
    return simulator.Device.model_validate(
        {"name": "plc", "protocol": "modbus-tcp", "port": 0, "points": POINTS, **keys}
    )


async def scan(plc: Device, times: int = 1) -> list[dict[str, Any]]:
    """Each scan's values by tag; a bad reading is the quality itself."""
    scans = []
    async with modbus.connect(plc, plc.tags) as read:
        for _ in range(times):
            readings = await read(plc.tags)
            scans.append({r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings})
    return scans


@pytest.mark.parametrize("word_order", ["big", "little"])
@pytest.mark.parametrize("byte_order", ["big", "little"])
def test_every_type_arrives_in_every_order(word_order: str, byte_order: str) -> None:
    async def scenario() -> None:
        orders = {"word_order": word_order, "byte_order": byte_order}
        async with simulator.serve([simulated(**orders)]) as servers:
            plc = device(next(iter(servers)), {name: address for name, (address, _) in TAGS.items()}, **orders)
            [values] = await scan(plc)
        assert values == {name: value for name, (_, value) in TAGS.items()}

    asyncio.run(scenario())


def test_neighbours_are_read_at_once() -> None:
    async def scenario() -> None:
        async with simulator.serve([simulated()]) as servers:
            port, server = next(iter(servers.items()))
            plc = device(
                port, {"a": "holding:40001:float32", "b": "holding:40003:int16", "c": "coil:1", "d": "coil:10"}
            )
            await scan(plc)
            assert server.units[1].reads == 2

    asyncio.run(scenario())


def test_a_refused_block_is_split_until_the_bad_tag_stands_alone_and_stays_so() -> None:
    async def scenario() -> None:
        async with simulator.serve([simulated()]) as servers:
            port, server = next(iter(servers.items()))
            addresses = {
                "a": "holding:40001:float32",
                "b": "holding:40003:int16",
                "hole": "holding:40009:int16",
                "text": "holding:40011:string(7)",
            }
            first, second = await scan(device(port, addresses), times=2)
            assert first == second == {"a": 84.5, "b": -2, "hole": Quality.BAD, "text": "filling"}
            reads_of_first = server.units[1].reads - (reads_of_second := 3)
            assert reads_of_first > reads_of_second

    asyncio.run(scenario())


def test_several_units_behind_one_port_are_told_apart() -> None:
    async def scenario() -> None:
        def unit(number: int) -> simulator.Device:
            point = {"table": "holding", "offset": 0, "type": "uint16", "signal": {"kind": "constant", "value": number}}
            return simulated(unit=number, points=[point])

        async with simulator.serve([unit(number) for number in range(1, 6)]) as servers:
            [port] = servers
            scans = [scan(device(port, {"n": "holding:40001:uint16"}, unit=number)) for number in range(1, 6)]
            assert [values["n"] for [values] in await asyncio.gather(*scans)] == [1, 2, 3, 4, 5]

    asyncio.run(scenario())


def test_a_unit_that_is_not_there_is_a_lost_device() -> None:
    async def scenario() -> None:
        async with simulator.serve([simulated()]) as servers:
            await scan(device(next(iter(servers)), {"a": "coil:1"}, unit=9))

    with pytest.raises(DeviceError, match="the device behind the gateway does not answer"):
        asyncio.run(scenario())


def test_nothing_listening_is_a_lost_device() -> None:
    with pytest.raises(DeviceError, match=r"no connection to 127\.0\.0\.1:1"):
        asyncio.run(scan(device(1, {"a": "coil:1"})))


Answer = Callable[[bytes], Awaitable[bytes | None]]


@asynccontextmanager
async def peer(answer: Answer) -> AsyncIterator[int]:
    """A server that answers each request as told; None closes the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await reader.readexactly(12)) and (reply := await answer(request)) is not None:
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def frame(request: bytes, pdu: bytes, transaction: int | None = None) -> bytes:
    sent = struct.unpack(">H", request[:2])[0]
    return struct.pack(">HHHB", sent if transaction is None else transaction, 0, len(pdu) + 1, request[6]) + pdu


async def short(request: bytes) -> bytes:
    return frame(request, bytes((3, 2, 0, 1)))


async def other_function(request: bytes) -> bytes:
    return frame(request, bytes((4, 4, 0, 1, 0, 2)))


async def other_transaction(request: bytes) -> bytes:
    return frame(request, bytes((3, 4, 0, 1, 0, 2)), transaction=0x7777)


async def busy(request: bytes) -> bytes:
    return frame(request, bytes((0x83, 6)))


async def hangs(_: bytes) -> bytes:
    await asyncio.sleep(30)
    return b""


async def closes(_: bytes) -> None:
    return None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (short, "answered something else than was asked"),
        (other_function, "answered something else than was asked"),
        (other_transaction, "no answer from unit 1"),
        (busy, "device busy"),
        (hangs, "no answer from unit 1"),
        (closes, "no answer from unit 1"),
    ],
)
def test_an_answer_that_cannot_be_right_is_not_believed(answer: Answer, said: str) -> None:
    async def scenario() -> None:
        async with peer(answer) as port:
            await scan(device(port, {"a": "holding:40001:float32"}, timeout=0.3))

    with pytest.raises(DeviceError, match=said):
        asyncio.run(scenario())
