"""The S7 driver against servers on real sockets."""

import asyncio
from typing import Any

import pytest

from gateway.drivers.driver import Device, DeviceError, Tag, WriteError
from gateway.drivers.s7 import driver as s7
from gateway.drivers.s7.address import Address
from gateway.drivers.s7.settings import Settings
from nexus.contract.reading import Quality
from simulators import s7 as simulator
from simulators.fault import Fault, Faults


def constant(value: object) -> dict[str, object]:
    return {"kind": "constant", "value": value}


POINTS: list[dict[str, Any]] = [
    {"area": "DB1", "offset": 0, "type": "REAL", "signal": constant(84.5)},
    {"area": "DB1", "offset": 4, "bit": 7, "type": "BOOL", "signal": constant(1)},
    {"area": "DB1", "offset": 6, "type": "INT", "signal": constant(-2)},
    {"area": "DB1", "offset": 10, "type": "STRING", "length": 20, "signal": constant("°C filler")},
    {"area": "DB1", "offset": 400, "type": "LREAL", "signal": constant(0.1)},
    {"area": "DB2", "offset": 0, "type": "DINT", "signal": constant(70_000)},
    {"area": "DB2", "offset": 1000, "type": "STRING", "length": 254, "signal": constant("x" * 254)},
    {"area": "M", "offset": 20, "type": "WORD", "signal": constant(0x1234)},
    {"area": "I", "offset": 0, "bit": 0, "type": "BOOL", "signal": constant(1)},
    {"area": "Q", "offset": 1, "type": "BYTE", "signal": constant(7)},
]
TAGS: dict[str, tuple[str, object]] = {
    "level": ("DB1.DBD0:REAL", 84.5),
    "valve": ("DB1.DBX4.7:BOOL", True),
    "closed": ("DB1.DBX4.6:BOOL", False),
    "offset": ("DB1.DBW6:INT", -2),
    "name": ("DB1.DBB10:STRING(20)", "°C filler"),
    "ratio": ("DB1:400:LREAL", 0.1),
    "count": ("DB2.DBD0:DINT", 70_000),
    "long": ("DB2.DBB1000:STRING(254)", "x" * 254),
    "word": ("MW20:WORD", 0x1234),
    "in": ("I0.0", True),
    "out": ("QB1:BYTE", 7),
}


def device(port: int, addresses: dict[str, str], timeout: float = 1.0, **keys: object) -> Device[Settings, Address]:
    settings = Settings.model_validate({"host": "127.0.0.1", "port": port, **keys})
    tags = tuple(Tag(name, s7.parse_address(address, settings), writable=True) for name, address in addresses.items())
    return Device("plc", "plc", "s7", timeout, settings, tags)


def simulated(**keys: object) -> simulator.Device:
    return simulator.Device.model_validate({"name": "plc", "protocol": "s7", "port": 0, "points": POINTS, **keys})


async def scan(plc: Device[Settings, Address], times: int = 1) -> list[dict[str, Any]]:
    scans = []
    async with s7.connect(plc) as link:
        read = link.compile(plc.tags)
        for _ in range(times):
            readings = await read()
            scans.append({r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings})
    return scans


@pytest.mark.parametrize("pdu", [112, 240, 480, 960])
async def test_every_type_arrives_whatever_the_pdu(pdu: int) -> None:
    async with simulator.serve([simulated(pdu=pdu)]) as servers:
        [values] = await scan(device(next(iter(servers)), {name: address for name, (address, _) in TAGS.items()}))
    assert values == {name: value for name, (_, value) in TAGS.items()}


async def test_many_tags_are_few_jobs() -> None:
    points = [{"area": "DB1", "offset": at * 4, "type": "REAL", "signal": constant(at)} for at in range(100)]
    async with simulator.serve([simulated(points=points)]) as servers:
        port, server = next(iter(servers.items()))
        [values] = await scan(device(port, {f"t{at}": f"DB1.DBD{at * 4}:REAL" for at in range(100)}))
        assert values == {f"t{at}": at for at in range(100)}
        assert server.jobs == 1


async def test_a_refused_block_is_split_until_the_bad_tag_stands_alone_and_stays_so() -> None:
    async with simulator.serve([simulated()]) as servers:
        port, server = next(iter(servers.items()))
        plc = device(
            port,
            {"good": "DB1.DBD0:REAL", "beyond": "DB1:410:REAL", "none": "DB9.DBW0:INT", "near": "DB1:400:LREAL"},
        )
        async with s7.connect(plc) as link:
            read = link.compile(plc.tags)
            for _ in range(2):
                jobs = server.jobs
                readings = {r.tag: r for r in await read()}
                assert {tag: r.value for tag, r in readings.items()} == {
                    "good": 84.5,
                    "near": 0.1,
                    "beyond": None,
                    "none": None,
                }
                assert readings["none"].quality == Quality.BAD
            assert server.jobs - jobs == 1
            assert "Optimized block access" in link.tag_errors["none"]
            assert "beyond the end of the block" in link.tag_errors["beyond"]


async def test_what_is_written_is_read_back() -> None:
    async with simulator.serve([simulated()]) as servers:
        plc = device(
            next(iter(servers)),
            {
                "level": "DB1.DBD0:REAL",
                "valve": "DB1.DBX4.0",
                "other": "DB1.DBX4.7",
                "name": "DB1.DBB10:STRING(20)",
            },
        )
        tags = {tag.name: tag for tag in plc.tags}
        async with s7.connect(plc) as link:
            await link.write(tags["level"], 12.5)
            await link.write(tags["valve"], True)
            await link.write(tags["name"], "neu")
            assert [r.value for r in await link.compile(plc.tags)()] == [12.5, True, True, "neu"]
            await link.write(tags["valve"], False)
            assert [r.value for r in await link.compile(plc.tags)()] == [12.5, False, True, "neu"]
            with pytest.raises(WriteError, match="longer than 20"):
                await link.write(tags["name"], "x" * 21)


async def test_a_text_keeps_to_the_room_that_the_plc_declares() -> None:
    """The file says STRING(20), the PLC STRING[8]: what lies behind it is not ours."""
    points = [
        {"area": "DB1", "offset": 0, "type": "STRING", "length": 8, "signal": constant("old")},
        {"area": "DB1", "offset": 10, "type": "DINT", "signal": constant(70_000)},
        {"area": "DB1", "offset": 20, "type": "DINT", "signal": constant(1)},
    ]

    async with simulator.serve([simulated(points=points)]) as servers:
        addresses = {"name": "DB1.DBB0:STRING(20)", "capacity": "DB1.DBB0:BYTE", "behind": "DB1.DBD10:DINT"}
        plc = device(next(iter(servers)), addresses)
        async with s7.connect(plc) as link:
            with pytest.raises(WriteError, match="holds 8 characters, and the text has 9"):
                await link.write(plc.tags[0], "x" * 9)
            assert await link.write(plc.tags[0], "x" * 8) == "x" * 8
            readings = {r.tag: r.value for r in await link.compile(plc.tags)()}
            assert readings == {"name": "x" * 8, "capacity": 8, "behind": 70_000}


async def test_a_plc_that_does_not_permit_put_get_says_what_to_tick() -> None:
    with pytest.raises(DeviceError, match="Permit access with PUT/GET"):
        faults = Faults({"plc"})
        faults.set("plc", Fault(kind="exception", code=0x8104))
        async with simulator.serve([simulated()], faults) as servers:
            await scan(device(next(iter(servers)), {"level": "DB1.DBD0:REAL"}))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("hang", "no answer|no connection"),
        ("drop", "closed by peer|hung up"),
        ("half", "closed by peer|hung up"),
        ("garbage", "."),
        ("refuse", "closed by peer"),
    ],
)
async def test_a_fault_is_a_lost_device_and_ends_with_its_cause(kind: str, said: str) -> None:
    faults = Faults({"plc"})
    async with simulator.serve([simulated()], faults) as servers:
        port, server = next(iter(servers.items()))
        plc = device(port, {"level": "DB1.DBD0:REAL"}, timeout=0.3)
        with pytest.raises(DeviceError, match=said):
            async with s7.connect(plc) as link:
                await link.compile(plc.tags)()
                faults.set("plc", Fault(kind=kind))
                await link.compile(plc.tags)()
                raise AssertionError("the fault was not seen")
        faults.set("plc", Fault(kind=kind))
        with pytest.raises(DeviceError):
            await scan(plc)
        faults.set("plc", None)
        assert await scan(plc) == [{"level": 84.5}]
        async with asyncio.timeout(2):
            while server.connections:
                await asyncio.sleep(0.01)


async def test_nothing_listening_is_a_lost_device() -> None:
    with pytest.raises(DeviceError, match=r"no connection to 127\.0\.0\.1:1"):
        await scan(device(1, {"a": "M0.0"}))


async def test_after_a_read_that_was_cancelled_nothing_is_read_on_that_connection() -> None:
    """A part of its answer may be left there."""

    faults = Faults({"plc"})
    async with simulator.serve([simulated()], faults) as servers:
        plc = device(next(iter(servers)), {"level": "DB1.DBD0:REAL"})
        async with s7.connect(plc) as link:
            await link.compile(plc.tags)()
            faults.set("plc", Fault.model_validate({"kind": "slow", "delay": "300ms"}))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await link.compile(plc.tags)()
            faults.set("plc", None)
            with pytest.raises(DeviceError, match="the connection was lost"):
                await link.compile(plc.tags)()
