"""What every driver promises, held against a device on a real socket."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import drivers
from gateway.config import devices as config
from gateway.drivers.driver import Device, DeviceError, DeviceSession, Driver, Tag, WriteError
from nexus.contract.reading import Quality, Reading, Value
from simulators.fault import Faults
from tests.conformance.devices import HANG, KINDS, NAME, Kind
from tests.conformance.packages import Site
from tests.parts import PATIENCE

TIMEOUT = 2.0  # of an answer
CONNECT = 5.0 * PATIENCE
DEADLINE = 4 * TIMEOUT * PATIENCE  # an answer may be asked for twice, on a connection made anew


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Kind:
    monkeypatch.setenv("NEXUS_PKI_DIR", str(tmp_path / "pki"))
    if request.param.protocol not in drivers.BUILT_IN:
        site.install_example()
    given: Kind = request.param
    return given


class Plant:
    """A device of a kind, and what is configured for it."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.faults = Faults({NAME})
        self._file = folder / "plant.yaml"

    def configured(self, port: int, more: dict[str, str] | None = None) -> tuple[Driver, Device]:
        addresses = {name: address for name, (address, _) in self.kind.tags.items()} | (more or {})
        tags = [
            {"name": name, "address": address, "writable": name == self.kind.setpoint}
            for name, address in addresses.items()
        ]
        keys = {"name": NAME, "protocol": self.kind.protocol, "timeout": f"{TIMEOUT}s", "tags": tags}
        self._file.write_text(yaml.safe_dump({"devices": [keys | self.kind.keys(port)]}))
        [one] = config.load(self._file)
        return one.driver, one.device


def run(kind: Kind, folder: Path, scenario: Callable[[Plant], Coroutine[Any, Any, None]]) -> None:
    """Runs it, and sees that no task and no descriptor is left of it."""

    async def whole() -> None:
        before = descriptors()
        await scenario(Plant(kind, folder))
        end = asyncio.get_running_loop().time() + CONNECT
        while left := tasks() or descriptors() - before:
            assert asyncio.get_running_loop().time() < end, left
            await asyncio.sleep(0.02)

    asyncio.run(whole())


def tasks() -> set[str]:
    """What runs beside this; but for the library's OPC UA server, which forgets some of its own when it ends."""
    beside = asyncio.all_tasks() - {asyncio.current_task()}
    return {repr(one) for one in beside if "/asyncua/server/" not in repr(one)}


def descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # what listed them is closed
            found.add(f"{one.name} {one.readlink()}")
    return found


async def gone(connections: set[asyncio.StreamWriter]) -> None:
    """Waits until the device has no client any more."""
    async with asyncio.timeout(CONNECT):
        while connections:
            await asyncio.sleep(0.02)


async def lost(session: DeviceSession, tags: Sequence[Tag]) -> None:
    """Reads until the device is lost, which is said within the deadline."""
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(DeviceError):
            while True:
                await session.compile(tags)()


def values(readings: list[Reading]) -> dict[str, Value]:
    assert len({reading.tag for reading in readings}) == len(readings)
    return {reading.tag: reading.value if reading.quality == Quality.GOOD else None for reading in readings}


def expected(kind: Kind) -> dict[str, Value]:
    return {name: value for name, (_, value) in kind.tags.items()}


def test_all_tags_are_read_scan_after_scan(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port)
            async with driver.connect(device) as session:
                read = session.compile(device.tags)
                for _ in range(3):
                    assert values(await read()) == expected(kind)
                for tag in device.tags:
                    assert values(await session.compile([tag])()) == {tag.name: expected(kind)[tag.name]}
            await gone(served.connections)

    run(kind, tmp_path, scenario)


def test_who_tells_of_changes_tells_of_every_tag(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port)
            async with driver.connect(device) as session:
                assert (session.next_changes is not None) == kind.listens
                told: dict[str, Value] = {}
                async with asyncio.timeout(CONNECT):
                    while session.next_changes is not None and len(told) < len(device.tags):
                        told |= values(await session.next_changes())
                assert told == (expected(kind) if kind.listens else {})

    run(kind, tmp_path, scenario)


def test_a_refused_tag_is_bad_and_alone_and_the_session_says_why(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port, {"refused": kind.refused})
            async with driver.connect(device) as session:
                read = session.compile(device.tags)
                for _ in range(2):
                    readings = await read()
                    assert values(readings) == {**expected(kind), "refused": None}
                    assert [one.quality for one in readings if one.tag == "refused"] == [Quality.BAD]
                assert session.tag_errors["refused"]
                assert set(session.tag_errors) == {"refused"}

    run(kind, tmp_path, scenario)


def test_what_is_written_is_read_back(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port)
            [tag] = [one for one in device.tags if one.name == kind.setpoint]
            async with driver.connect(device) as session:
                assert await session.write(tag, 12.5) == 12.5
                with pytest.raises(WriteError):
                    await session.write(tag, "much")
                assert values(await session.compile(device.tags)()) == {**expected(kind), tag.name: 12.5}

    run(kind, tmp_path, scenario)


def test_a_lost_device_is_said_in_time_and_read_again_once_it_is_back(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            port = served.port
            driver, device = plant.configured(port)
            session_block = driver.connect(device)
            session = await session_block.__aenter__()
            assert values(await session.compile(device.tags)()) == expected(kind)
        await lost(session, device.tags)
        await session_block.__aexit__(None, None, None)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(DeviceError, match=f"127.0.0.1:{port}"):
                async with driver.connect(device):
                    pass
        async with kind.serve(port, plant.faults) as served, driver.connect(device) as session:
            assert values(await session.compile(device.tags)()) == expected(kind)

    run(kind, tmp_path, scenario)


def test_a_device_that_hangs_is_lost_at_its_deadline(kind: Kind, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port)
            async with driver.connect(device) as session:
                assert values(await session.compile(device.tags)()) == expected(kind)
                plant.faults.set(NAME, HANG)
                began = asyncio.get_running_loop().time()
                await lost(session, device.tags)
                assert asyncio.get_running_loop().time() - began > TIMEOUT / 2
            plant.faults.set(NAME, None)
            async with driver.connect(device) as session:
                assert values(await session.compile(device.tags)()) == expected(kind)
            await gone(served.connections)

    run(kind, tmp_path, scenario)


@pytest.mark.parametrize("hangs", ["connect", "read"])
def test_whoever_is_cancelled_leaves_no_task_and_no_connection(kind: Kind, hangs: str, tmp_path: Path) -> None:
    async def scenario(plant: Plant) -> None:
        async with kind.serve(0, plant.faults) as served:
            driver, device = plant.configured(served.port)

            async def poll() -> None:
                if hangs == "connect":
                    plant.faults.set(NAME, HANG)
                async with driver.connect(device) as session:
                    plant.faults.set(NAME, HANG)
                    while True:
                        await session.compile(device.tags)()

            for _ in range(3):
                plant.faults.set(NAME, None)
                polling = asyncio.create_task(poll())
                async with asyncio.timeout(CONNECT):
                    while not (served.connections and plant.faults.of(NAME)):
                        await asyncio.sleep(0.01)
                await asyncio.sleep(TIMEOUT / 10)  # into the midst of what hangs
                polling.cancel()
                async with asyncio.timeout(DEADLINE):
                    with pytest.raises(asyncio.CancelledError):
                        await polling
                await gone(served.connections)

    run(kind, tmp_path, scenario)
