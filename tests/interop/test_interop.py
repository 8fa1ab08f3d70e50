"""The drivers against servers that are neither ours nor Python's. Run by `make interop`."""

import asyncio
import ctypes
import ctypes.util
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.drivers.driver import Device, DeviceError, Tag, WriteError
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.modbus.address import Address as ModbusAddress
from gateway.drivers.modbus.settings import RtuSettings, TcpSettings
from gateway.drivers.modbus.settings import Settings as ModbusSettings
from gateway.drivers.opcua import driver as opcua
from gateway.drivers.opcua.address import Address as OpcuaAddress
from gateway.drivers.opcua.settings import Settings as OpcuaSettings
from gateway.drivers.s7 import driver as s7
from gateway.drivers.s7.settings import Settings as S7Settings
from nexus.contract.reading import Quality, Reading
from tests.parts import free_port

pytestmark = pytest.mark.interop
HERE = Path(__file__).parent
MODULES = HERE.parents[1] / ".tools" / "interop"


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[None]:
    """A server, from the moment that it says so."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environment}, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == "ready":
                    break
            else:
                raise AssertionError(f"{command[0]} ended with {process.wait()}")
            yield
        finally:
            process.kill()


@contextmanager
def node(script: str, *arguments: str) -> Iterator[int]:
    if shutil.which("node") is None or not (MODULES / "node_modules").exists():
        pytest.skip("needs Node.js and the packages of tests/interop/package.json: `make interop` installs them")
    port = free_port()
    with running(["node", str(HERE / script), str(port), *arguments], NODE_PATH=str(MODULES / "node_modules")):
        yield port


@pytest.fixture(scope="session")
def libmodbus_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("needs gcc and libmodbus: apt-get install gcc libmodbus-dev")
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    subprocess.run(
        ["gcc", "-O2", "-I/usr/include/modbus", str(HERE / "modbus_server.c"), "-o", str(program), "-lmodbus"],
        check=True,
    )
    return program


@pytest.fixture(params=["libmodbus", "modbus-serial"])
def modbus_port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "modbus-serial":
        with node("modbus_server.js") as port:
            yield port
        return
    port = free_port()
    with running([str(request.getfixturevalue("libmodbus_program")), str(port)]):
        yield port


def values(readings: list[Reading]) -> dict[str, Any]:
    return {r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings}


def modbus_device(port: int, addresses: dict[str, str], **keys: object) -> Device[ModbusSettings, ModbusAddress]:
    settings = TcpSettings.model_validate({"host": "127.0.0.1", "port": port, "addressing": "zero", **keys})
    tags = tuple(
        Tag(name, modbus.parse_address(address, settings), writable=True) for name, address in addresses.items()
    )
    return Device("plc", "plc", "modbus-tcp", 2.0, settings, tags)


async def test_modbus_registers_coils_and_writes(modbus_port: int) -> None:
    addresses = {f"r{at}": f"holding:{at}:uint16" for at in range(0, 400, 3)}
    plc = modbus_device(modbus_port, {**addresses, "wide": "holding:500:uint32", "c0": "coil:0", "c1": "coil:1"})
    async with modbus.connect(plc) as link:
        found = values(await link.compile(plc.tags)())
        assert {name: found[name] for name in addresses} == {f"r{at}": at for at in range(0, 400, 3)}
        assert (found["wide"], found["c0"], found["c1"]) == (500 << 16 | 501, True, False)
        await link.write(plc.tags[1], 4711)
        assert values(await link.compile(plc.tags[:3])()) == {"r0": 0, "r3": 4711, "r6": 6}


@contextmanager
def null_modem() -> Iterator[tuple[str, str]]:
    """Two serial ports, each the other end of the other."""
    ends = [pty.openpty() for _ in range(2)]
    for end in ends:
        for one in end:
            tty.setraw(one)
    ended = threading.Event()
    masters = {ends[0][0]: ends[1][0], ends[1][0]: ends[0][0]}

    def carry() -> None:
        while not ended.is_set():
            for here in select.select(list(masters), [], [], 0.1)[0]:
                os.write(masters[here], os.read(here, 512))

    carrying = threading.Thread(target=carry)
    carrying.start()
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        ended.set()
        carrying.join()
        for one in (*ends[0], *ends[1]):
            os.close(one)


async def test_a_serial_line_is_read_and_written(libmodbus_program: Path) -> None:
    async def scenario(serial: str) -> None:
        settings = RtuSettings(serial=serial, baudrate=115200, parity="none", addressing="zero", unit=1)
        addresses = {f"r{at}": f"holding:{at}:uint16" for at in range(0, 400, 3)}
        addresses |= {
            "bit": "holding:700.3:bool",
            "coil": "coil:7",
            "last": "holding:1999:uint16",
            "no": "holding:2000:int16",
        }
        tags = {name: Tag(name, modbus.parse_address(text, settings)) for name, text in addresses.items()}
        plc: Device[ModbusSettings, ModbusAddress] = Device(
            "plc", "plc", "modbus-rtu", 2.0, settings, tuple(tags.values())
        )
        async with modbus.connect(plc) as link:
            expected: dict[str, Any] = {f"r{at}": at for at in range(0, 400, 3)}
            expected |= {"bit": bool(700 >> 3 & 1), "coil": False, "last": 1999, "no": Quality.BAD}
            for _ in range(5):
                assert values(await link.compile(plc.tags)()) == expected
            await link.write(tags["bit"], not expected["bit"])
            await link.write(tags["coil"], True)
            assert values(await link.compile([tags["bit"], tags["coil"]])()) == {
                "bit": not expected["bit"],
                "coil": True,
            }

    with null_modem() as (theirs, ours), running([str(libmodbus_program), theirs]):
        await scenario(ours)


async def test_a_bit_is_changed_inside_the_device_or_not_at_all(modbus_port: int) -> None:
    plc = modbus_device(modbus_port, {"bit": "holding:8.0:bool", "whole": "holding:8:uint16"})
    async with modbus.connect(plc) as link:
        refusal = None
        try:
            await link.write(plc.tags[0], True)
        except WriteError as error:
            refusal = str(error)
        assert refusal is None or "no function 22 (mask write)" in refusal
        assert values(await link.compile(plc.tags)()) == {
            "bit": refusal is None,
            "whole": 9 - (refusal is not None),
        }


async def test_modbus_refusals_and_absent_units(modbus_port: int) -> None:
    plc = modbus_device(
        modbus_port,
        {"last": "holding:999:uint16", "hole": "holding:2005:uint16", "first": "holding:1990:uint16"},
        gap=50,
    )
    async with modbus.connect(plc) as link:
        found = values(await link.compile(plc.tags)())
        assert (found["last"], found["first"]) == (999, 1990)
    absent = modbus_device(modbus_port, {"a": "holding:0:uint16"}, unit=9)
    with pytest.raises(DeviceError, match="no answer from this `unit` behind the converter"):
        async with modbus.connect(absent) as link:
            await link.compile(absent.tags)()


async def test_modbus_holes_stand_alone() -> None:
    async def scenario(port: int) -> None:
        plc = modbus_device(
            port,
            {"before": "holding:999:uint16", "hole": "holding:1003:uint16", "after": "holding:1010:uint16"},
            gap=50,
        )
        async with modbus.connect(plc) as link:
            for _ in range(2):
                assert values(await link.compile(plc.tags)()) == {"before": 999, "hole": Quality.BAD, "after": 1010}

    with node("modbus_server.js") as port:
        await scenario(port)


def opcua_device(port: int, nodes: dict[str, str], **keys: object) -> Device[OpcuaSettings, OpcuaAddress]:
    settings = OpcuaSettings.model_validate({"endpoint": f"opc.tcp://127.0.0.1:{port}", **keys})
    tags = tuple(
        Tag(name, opcua.parse_address(text, settings), interval=0.1, writable=True) for name, text in nodes.items()
    )
    return Device("plc", "plc", "opcua", 5.0, settings, tags)


OPERATOR = {"username": "operator", "password": "secret", "insecure_password": True}
NODES = {name: f"ns=1;s={name}" for name in ("Text", "Flag", "Bad", "Uncertain", "None")}


async def test_node_opcua_is_polled_within_its_limits_and_heard() -> None:
    async def scenario(port: int) -> None:
        many = {f"n{n}": f"ns=1;s=N{n}" for n in range(1200)}
        plc = opcua_device(port, {**NODES, **many}, mode="poll")
        async with opcua.connect(plc) as link:
            readings = await link.compile(plc.tags)()
            found = values(readings)
            assert (found["Text"], found["Flag"], found["Bad"], found["None"]) == ("°C", True, Quality.BAD, Quality.BAD)
            [uncertain] = [r for r in readings if r.tag == "Uncertain"]
            assert (uncertain.value, uncertain.quality) == (1.5, Quality.UNCERTAIN)
            assert datetime.fromtimestamp(uncertain.time / 1000, UTC).year == 2024
            assert 1199 <= found["n1199"] - found["n0"] < 1300  # they count while they are read, in three calls
        plc = opcua_device(port, {**NODES, **many})
        async with opcua.connect(plc) as link:
            assert link.next_changes is not None
            heard: list[Reading] = []
            async with asyncio.timeout(20):
                while sum(r.tag == "n7" for r in heard) < 10 or len(values(heard)) < 1205:
                    heard += await link.next_changes()
            counts: list[Any] = [r.value for r in heard if r.tag == "n7"]
            assert counts == sorted(counts)
        plc = opcua_device(port, {"Setpoint": "ns=1;s=Setpoint"}, mode="poll", **OPERATOR)
        async with opcua.connect(plc) as link:
            await link.write(plc.tags[0], 42)
            assert values(await link.compile(plc.tags)()) == {"Setpoint": 42}

    with node("opcua_server.js") as port:
        await scenario(port)


def test_node_opcua_with_security_and_a_wrong_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_PKI_DIR", str(tmp_path))

    security = {"policy": "Basic256Sha256", "trust": "any"}

    async def accepted(port: int) -> None:
        plc = opcua_device(port, NODES, mode="poll", security=security, username="operator", password="secret")
        async with opcua.connect(plc) as link:
            assert values(await link.compile(plc.tags)())["Text"] == "°C"
        wrong = opcua_device(port, NODES, mode="poll", **{**OPERATOR, "password": "wrong"})
        with pytest.raises(DeviceError, match="refuses the login of operator"):
            async with opcua.connect(wrong):
                pass

    async def refused(port: int) -> None:
        with pytest.raises(DeviceError, match="the server does not accept our certificate"):
            async with opcua.connect(opcua_device(port, NODES, mode="poll", security=security)):
                pass

    with node("opcua_server.js") as port:
        asyncio.run(accepted(port))
    with node("opcua_server.js", str(tmp_path / "server")) as port:
        asyncio.run(refused(port))


@pytest.fixture
def open62541(tmp_path: Path) -> Iterator[int]:
    root = Path(os.environ.get("NEXUS_TEST_OPEN62541", "/"))
    if shutil.which("gcc") is None or not (root / "usr/include/open62541/server.h").exists():
        pytest.skip("needs gcc and open62541 (Debian 13's libopen62541-1.4-dev), or its root in NEXUS_TEST_OPEN62541")
    libraries = str(next((root / "usr/lib").glob("**/libopen62541.so")).parent)
    program, port = str(tmp_path / "server"), free_port()
    paths = [f"-I{root / 'usr/include'}", f"-L{libraries}", f"-Wl,-rpath-link,{libraries}"]
    subprocess.run(["gcc", str(HERE / "opcua_server.c"), "-o", program, *paths, "-lopen62541"], check=True)
    with running([program, str(port)], LD_LIBRARY_PATH=libraries):
        yield port


async def test_open62541_is_polled_heard_and_written(open62541: int) -> None:
    nodes = {f"n{n}": f"ns=1;s=N{n}" for n in range(1200)}
    expected = {f"n{n}": float(n) for n in range(1200)}
    plc = opcua_device(open62541, {**nodes, "fixed": "ns=1;s=Fixed", "set": "ns=1;s=Setpoint"}, mode="poll")
    async with opcua.connect(plc) as link:
        assert values(await link.compile(plc.tags)()) == {**expected, "fixed": 7, "set": 5}
        assert await link.write(plc.tags[-1], -3) == -3
        with pytest.raises(WriteError, match="or leave `writable` out"):
            await link.write(plc.tags[-2], 8)
    plc = opcua_device(open62541, {**nodes, "set": "ns=1;s=Setpoint"})
    async with opcua.connect(plc) as link:
        assert link.next_changes is not None
        heard: list[Reading] = []
        async with asyncio.timeout(20):
            while len(values(heard)) < 1201:
                heard += await link.next_changes()
            await link.write(plc.tags[-1], 4)
            while values(heard) != {**expected, "set": 4}:
                heard += await link.next_changes()


SNAP7_SERVER = """
import ctypes, sys, time
library, port = ctypes.CDLL(sys.argv[1]), ctypes.c_uint16(int(sys.argv[2]))
library.Srv_Create.restype = ctypes.c_void_p
server = ctypes.c_void_p(library.Srv_Create())
library.Srv_SetParam(server, 1, ctypes.byref(port))
data, words = (ctypes.c_uint8 * 2000)(*[at % 256 for at in range(2000)]), (ctypes.c_uint8 * 64)()
assert library.Srv_RegisterArea(server, 5, 1, ctypes.byref(data), 2000) == 0
assert library.Srv_RegisterArea(server, 2, 0, ctypes.byref(words), 64) == 0
assert library.Srv_StartTo(server, b"127.0.0.1") == 0
print("ready", flush=True)
time.sleep(60)
"""


async def test_libsnap7_is_read_and_written() -> None:
    library = os.environ.get("NEXUS_TEST_LIBSNAP7") or ctypes.util.find_library("snap7")
    if library is None:
        pytest.skip("needs libsnap7 (Debian 13's package libsnap7-1), or its file in NEXUS_TEST_LIBSNAP7")
    port = free_port()

    with running([sys.executable, "-c", SNAP7_SERVER, library, str(port)]):
        settings = S7Settings(host="127.0.0.1", port=port)
        addresses = {f"w{at}": f"DB1.DBW{at}:WORD" for at in range(0, 1900, 38)}
        addresses |= {
            "real": "DB1.DBD4:REAL",
            "bit": "DB1.DBX3.1",
            "marker": "MW2:INT",
            "beyond": "DB1:1999:DWORD",
            "none": "DB7.DBW0:INT",
        }
        tags = tuple(Tag(name, s7.parse_address(text, settings), writable=True) for name, text in addresses.items())
        plc = Device("plc", "plc", "s7", 2.0, settings, tags)
        async with s7.connect(plc) as link:
            found = values(await link.compile(plc.tags)())
            assert {name: value for name, value in found.items() if name[0] == "w"} == {
                f"w{at}": (at % 256) << 8 | (at + 1) % 256 for at in range(0, 1900, 38)
            }
            assert found["real"] == struct.unpack(">f", bytes((4, 5, 6, 7)))[0]
            assert (found["bit"], found["marker"]) == (True, 0)
            assert (found["beyond"], found["none"]) == (Quality.BAD, Quality.BAD)
            by_name = {tag.name: tag for tag in tags}
            await link.write(by_name["marker"], -7)
            await link.write(by_name["bit"], False)
            again = values(await link.compile(plc.tags)())
            assert (again["marker"], again["bit"]) == (-7, False)
