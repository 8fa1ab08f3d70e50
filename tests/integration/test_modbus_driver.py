"""The Modbus driver against servers on real sockets: our simulator, and peers that misbehave."""

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.drivers.driver import Device, DeviceError, Tag
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.modbus.address import Address
from gateway.drivers.modbus.settings import RtuSettings, Settings, TcpSettings
from nexus.contract.reading import Quality
from simulators import modbus as simulator
from tests.modbus_peer import Answer, peer

Plc = Device[Settings, Address]

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


def device(port: int, addresses: dict[str, str], timeout: float = 1.0, **keys: Any) -> Plc:
    settings = TcpSettings.model_validate({"host": "127.0.0.1", "port": port, **keys})
    tags = tuple(Tag(name, modbus.parse_address(address, settings)) for name, address in addresses.items())
    return Device("plc", "plc", "modbus-tcp", timeout, settings, tags)


def simulated(**keys: object) -> simulator.Device:
    return simulator.Device.model_validate(
        {"name": "plc", "protocol": "modbus-tcp", "port": 0, "points": POINTS, **keys}
    )


async def scan(plc: Plc, times: int = 1) -> list[dict[str, Any]]:
    """Each scan's values by tag; a bad reading is the quality itself."""
    scans = []
    async with modbus.connect(plc) as link:
        read = link.compile(plc.tags)
        for _ in range(times):
            readings = await read()
            scans.append({r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings})
    return scans


@pytest.mark.parametrize("word_order", ["big", "little"])
@pytest.mark.parametrize("byte_order", ["big", "little"])
async def test_every_type_arrives_in_every_order(word_order: str, byte_order: str) -> None:
    orders: dict[str, Any] = {"word_order": word_order, "byte_order": byte_order}
    async with simulator.serve([simulated(**orders)]) as servers:
        plc = device(next(iter(servers)), {name: address for name, (address, _) in TAGS.items()}, **orders)
        [values] = await scan(plc)
    assert values == {name: value for name, (_, value) in TAGS.items()}


async def test_neighbours_are_read_at_once() -> None:
    async with simulator.serve([simulated()]) as servers:
        port, server = next(iter(servers.items()))
        plc = device(port, {"a": "holding:40001:float32", "b": "holding:40003:int16", "c": "coil:1", "d": "coil:10"})
        await scan(plc)
        assert server.units[1].reads == 2


async def test_a_refused_block_is_split_until_the_bad_tag_stands_alone_and_stays_so() -> None:
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


async def test_several_units_behind_one_port_are_told_apart() -> None:
    def unit(number: int) -> simulator.Device:
        point = {"table": "holding", "offset": 0, "type": "uint16", "signal": {"kind": "constant", "value": number}}
        return simulated(unit=number, points=[point])

    async with simulator.serve([unit(number) for number in range(1, 6)]) as servers:
        [port] = servers
        scans = [scan(device(port, {"n": "holding:40001:uint16"}, unit=number)) for number in range(1, 6)]
        assert [values["n"] for [values] in await asyncio.gather(*scans)] == [1, 2, 3, 4, 5]


async def test_a_unit_that_is_not_there_is_a_lost_device() -> None:
    with pytest.raises(DeviceError, match="no answer from this `unit` behind the converter"):
        async with simulator.serve([simulated()]) as servers:
            await scan(device(next(iter(servers)), {"a": "coil:1"}, unit=9))


async def test_nothing_listening_is_a_lost_device() -> None:
    with pytest.raises(DeviceError, match=r"no connection to 127\.0\.0\.1:1"):
        await scan(device(1, {"a": "coil:1"}))


async def short(_: int, __: bytes, ___: int) -> list[bytes]:
    return [bytes((3, 2, 0, 1))]


async def other_function(_: int, __: bytes, ___: int) -> list[bytes]:
    return [bytes((4, 4, 0, 1, 0, 2))]


async def right(_: int, __: bytes, ___: int) -> list[bytes]:
    return [bytes((3, 4, 0, 1, 0, 2))]


async def busy(_: int, __: bytes, ___: int) -> list[bytes]:
    return [bytes((0x83, 6))]


async def hangs(_: int, __: bytes, ___: int) -> list[bytes]:
    await asyncio.sleep(30)
    return []


async def closes(_: int, __: bytes, ___: int) -> None:
    return None


@pytest.mark.parametrize(
    ("answer", "number", "said"),
    [
        (short, None, "gave an answer that does not match the request"),
        (other_function, None, "gave an answer that does not match the request"),
        (right, 0x7777, "no answer from unit 1"),
        (busy, None, "device busy"),
        (hangs, None, "no answer from unit 1"),
        (closes, None, "closed the connection"),
    ],
)
async def test_an_answer_that_cannot_be_right_is_not_believed(answer: Answer, number: int | None, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        async with peer(answer, number=number) as port:
            await scan(device(port, {"a": "holding:40001:float32"}, timeout=0.3))


@asynccontextmanager
async def connections_counted(peer_port: int) -> AsyncIterator[tuple[int, list[int]]]:
    """A proxy before a server: how many connections it has now, and had at most."""
    seen = [0, 0]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen[0] += 1
        seen[1] = max(seen)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", peer_port)
        try:
            await asyncio.wait(
                {asyncio.create_task(pump(reader, up_writer)), asyncio.create_task(pump(up_reader, writer))},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            seen[0] -= 1
            writer.transport.abort()
            up_writer.transport.abort()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


def units(count: int) -> list[simulator.Device]:
    return [
        simulated(
            unit=number,
            points=[
                {"table": "holding", "offset": 0, "type": "uint16", "signal": {"kind": "constant", "value": number}}
            ],
        )
        for number in range(1, count + 1)
    ]


async def test_units_behind_one_port_share_its_connection() -> None:
    async with simulator.serve(units(5)) as servers, connections_counted(next(iter(servers))) as (port, seen):
        plcs = [device(port, {"n": "holding:40001:uint16"}, unit=number) for number in range(1, 6)]
        found = await asyncio.gather(*(scan(plc, times=20) for plc in plcs))
        assert [values["n"] for values in (scans[-1] for scans in found)] == [1, 2, 3, 4, 5]
        assert seen[1] == 1


async def test_a_dead_unit_takes_its_turn_and_nothing_else_from_its_neighbours() -> None:
    async def answer(unit: int, _: bytes, __: int) -> list[bytes]:
        if unit == 2:
            await asyncio.sleep(0.5)
            return []
        return [bytes((3, 2, 0, unit))]

    async with peer(answer) as port:
        dead = device(port, {"n": "holding:40001:uint16"}, timeout=0.2, unit=2)
        alive = device(port, {"n": "holding:40001:uint16"}, timeout=2.0, unit=3)
        async with modbus.connect(alive) as link:
            lost = asyncio.create_task(scan(dead))
            await asyncio.sleep(0)
            for _ in range(5):
                assert [reading.value for reading in await link.compile(alive.tags)()] == [3]
            with pytest.raises(DeviceError, match="no answer from unit 2"):
                await lost
            assert [reading.value for reading in await link.compile(alive.tags)()] == [3]


async def test_a_serial_port_is_read_and_shared() -> None:
    """The line is a pseudo-terminal; behind it answers the simulator, by serial frames."""

    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    devices = [one.model_copy(update={"protocol": "modbus-rtu-tcp"}) for one in units(3)]
    async with simulator.serve(devices) as servers:
        reader, writer = await asyncio.open_connection("127.0.0.1", next(iter(servers)))
        loop = asyncio.get_running_loop()
        loop.add_reader(master, lambda: writer.write(os.read(master, 512)))

        async def back() -> None:
            while data := await reader.read(512):
                os.write(master, data)

        passing = asyncio.create_task(back())
        settings = RtuSettings(serial=os.ttyname(slave), baudrate=115200, parity="none", addressing="zero")
        plcs: list[Plc] = []
        for number in (1, 2, 3, 9):
            own = settings.model_copy(update={"unit": number})
            tag = Tag("n", modbus.parse_address("holding:0:uint16", own))
            plcs.append(Device(f"plc{number}", f"plc{number}", "modbus-rtu", 0.3, own, (tag,)))
        found = await asyncio.gather(*(scan(plc, times=5) for plc in plcs), return_exceptions=True)
        assert [scans[-1]["n"] for scans in found[:3] if isinstance(scans, list)] == [1, 2, 3]
        assert "no answer from unit 9" in str(found[3])
        loop.remove_reader(master)
        writer.close()
        passing.cancel()
        await asyncio.wait({passing})
    os.close(master)
    os.close(slave)


async def test_a_serial_port_that_is_not_there_is_a_lost_device() -> None:
    settings = RtuSettings(serial="/dev/does-not-exist")
    plc: Plc = Device("plc", "plc", "modbus-rtu", 0.3, settings, (Tag("a", modbus.parse_address("coil:1", settings)),))
    with pytest.raises(DeviceError, match="may this user open it"):
        await scan(plc)
