"""A gateway that may open fewer files than it has devices: what it needs itself is there all the same."""

import asyncio
import json
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway import drivers
from gateway.drivers.driver import Device, DeviceError, Tag
from gateway.polling.descriptors import spared
from nexus.process import http
from nexus.process.settings import Process
from tests.modbus_peer import peer, registers
from tests.parts import Mosquitto, Nexus, free_port, until

DEVICES, LIMIT = 120, 100


@contextmanager
def plant() -> Iterator[int]:
    """A Modbus device at each address of the loopback network; its port."""
    listening: list[tuple[int, Callable[[], object]]] = []

    async def answer(_: int, pdu: bytes, __: int) -> list[bytes]:
        return [registers(pdu)]

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with peer(answer, host="0.0.0.0") as port:
            listening.append((port, lambda: loop.call_soon_threadsafe(ended.set)))
            await ended.wait()

    serving = threading.Thread(target=lambda: asyncio.run(serve()))
    serving.start()
    port, end = until(lambda: listening, "the plant listens")[0]
    try:
        yield port
    finally:
        end()
        serving.join()


@pytest.mark.alone  # counts what is open at one moment
def test_devices_leave_descriptors_for_the_broker_and_the_pages(
    nexus: Callable[..., Nexus], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    with plant() as port:
        tag = {"name": "n", "address": "holding:40001:uint16"}
        common = {"protocol": "modbus-tcp", "port": port, "interval": "200ms", "timeout": "2s", "tags": [tag]}
        common["breaker"] = {"open_for": "500ms", "max_open_for": "500ms"}
        devices = [{"name": f"d{at}", "host": f"127.0.1.{at}", **common} for at in range(1, DEVICES + 1)]
        file = tmp_path / "devices.yaml"
        file.write_text(json.dumps({"devices": devices}))
        broker = mosquitto()
        gateway = nexus("gateway", "--devices", str(file), mqtt_url=broker.url, descriptors=LIMIT)
        gateway.until_ready()
        said = [event["event"] for event in gateway.events()]
        assert any("too few file descriptors" in event for event in said)

        def offline() -> set[str]:
            told = [event for event in gateway.events() if event["event"] == "device offline"]
            return {event["device"] for event in told if "no file descriptors left" in event["reason"]}

        until(lambda: len(offline()) > DEVICES - LIMIT, "devices that find no room say so")
        until(
            lambda: gateway.metric("process_open_fds") <= LIMIT * 3 / 4 + 5,
            "what connected at once too often is closed",
        )
        broker.stop()
        until(lambda: gateway.metric("nexus_gateway_broker_connected") == 0, "the broker is missed")
        broker.start()
        until(lambda: gateway.metric("nexus_gateway_broker_connected") == 1, "the broker has its connection again")
        before = gateway.metric("nexus_gateway_readings_total")
        until(lambda: gateway.metric("nexus_gateway_readings_total") > before + 50, "the others go on")
        assert not any("Too many open files" in line for line in gateway.log.read_text().splitlines())
        assert gateway.stop() == 0


async def test_devices_that_connect_at_once_leave_the_reserve() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sum(1 for _ in Path("/proc/self/fd").iterdir()) + 100

    @asynccontextmanager
    async def connection() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        number = os.open(os.devnull, os.O_RDONLY)
        try:
            await asyncio.sleep(0)
            yield number
        finally:
            os.close(number)

    ended, refused, made = asyncio.Event(), 0, 0

    async def device() -> None:
        nonlocal refused, made
        try:
            async with spared(connection()):
                made += 1
                await ended.wait()
        except (DeviceError, OSError):
            refused += 1

    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        async with asyncio.TaskGroup() as devices:
            for _ in range(5):
                for _ in range(60):
                    devices.create_task(device())
                await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                while made + refused < 300:
                    await asyncio.sleep(0.01)
            in_use = sum(1 for _ in Path("/proc/self/fd").iterdir())
            ended.set()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    kept = most - most // 4
    assert kept - 5 <= in_use <= kept + 1
    assert refused >= 300 - kept


@contextmanager
def none_left() -> Iterator[None]:
    """This process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("protocol", "keys", "address"),
    [
        ("modbus-tcp", {"host": "127.0.0.1"}, "coil:1"),
        ("modbus-tcp", {"host": "localhost"}, "coil:1"),
        ("modbus-rtu", {"serial": os.devnull}, "coil:1"),
        ("s7", {"host": "127.0.0.1"}, "M0.0"),
        ("opcua", {"endpoint": "opc.tcp://127.0.0.1:4840"}, "i=2258"),
    ],
)
async def test_a_device_that_finds_no_descriptor_is_lost_for_now(
    protocol: str, keys: dict[str, str], address: str
) -> None:
    driver = drivers.load(protocol)
    settings = driver.settings[protocol].model_validate(keys)
    device = Device("d", "d", protocol, 2.0, settings, (Tag("a", driver.parse_address(address, settings, False)),))

    with pytest.raises(DeviceError, match=r"no connection|no session"), none_left():
        async with asyncio.timeout(5), driver.connect(device):
            pass


def test_a_page_is_served_again_when_there_are_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> bytes:
        app = web.Application()

        async def page(_: web.Request) -> web.Response:
            return web.Response(text="here")

        app.router.add_get("/", page)
        loop, port = asyncio.get_running_loop(), free_port()
        async with http.site(app, Process(), "127.0.0.1", port, "TEST"):
            with socket.socket() as client:
                client.setblocking(False)
                with none_left():
                    await loop.sock_connect(client, ("127.0.0.1", port))
                    await loop.sock_sendall(client, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    await asyncio.sleep(0.3)
                async with asyncio.timeout(10):
                    return await loop.sock_recv(client, 1000)

    assert b"200 OK" in asyncio.run(scenario())
