"""The console's WebSockets: CPU and memory with thousands of clients, beside bare sockets. Prints JSON.

    python -m tests.benchmarks.sockets [--clients 5000] [--tags 10] [--seconds 20] [--rate 1]

Each client watches tags of a plant of 5,000, all of which change once a second. The floor is a process of bare asyncio
that writes to as many sockets, as often, as many bytes, made beforehand: what no server in asyncio can be cheaper than.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import random
import socket
import struct
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from db.migrate import connect, migrate
from db.settings import Settings
from nexus.cli import embedded
from nexus.mqtt import Broker, Client
from nexus.mqtt import connect as connect_mqtt
from nexus.process.run import _allow_descriptors
from tests.parts import ANYBODY, Mosquitto, Nexus, as_role, ended_with_block, free_port

DEVICES, TAGS_OF_A_DEVICE = 50, 100
TOPICS = [f"dev/plant/line1/plc{plc}/tag{tag}" for plc in range(DEVICES) for tag in range(TAGS_OF_A_DEVICE)]
MARK = b'{"values":'  # of each frame
_TICK = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 10.0


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and its memory in MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return (int(fields[11]) + int(fields[12])) / _TICK, int(memory.split()[1]) / 1024


class Watcher(asyncio.Protocol):
    """A client that asks for its tags and counts what comes."""

    count = size = 0

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            assert data.startswith(b"HTTP/1.1 101"), data
            self._is_open = True
            size = len(self._request)
            self._transport.write(struct.pack(">BBH4x", 0x81, 0x80 | 126, size) + self._request)  # a mask of zeros
            return
        if data[0] == 0x89:  # a ping
            self._transport.write(struct.pack(">BB4x", 0x8A, 0x80 | data[1]) + data[2 : 2 + data[1]])
            return
        Watcher.count += data.count(MARK)
        Watcher.size += len(data)


async def open_all(port: int, requests: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    turns = asyncio.Semaphore(50)

    async def one(request: bytes) -> None:
        async with turns:
            await loop.create_connection(lambda: Watcher(request), "127.0.0.1", port)
            await asyncio.sleep(0.02)

    await asyncio.gather(*map(one, requests))


async def measured(pid: int, seconds: float) -> dict[str, Any]:
    """What the process uses while the clients are served."""
    await asyncio.sleep(_SETTLE_SECONDS)
    cpu, _ = usage(pid)
    count, size, began = Watcher.count, Watcher.size, time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    later, memory = usage(pid)
    return {
        "core_percent": round(100 * (later - cpu) / took, 1),
        "memory_mb": round(memory),
        "frames_a_second": round((Watcher.count - count) / took),
        "bytes_a_frame": round((Watcher.size - size) / max(1, Watcher.count - count)),
    }


async def publish(port: int) -> None:
    """Changes all tags once a second, the devices spread over it."""
    number, begin = 0, time.monotonic()
    async with connect_mqtt(Broker("127.0.0.1", port), Client("plant")) as connection:
        while True:
            number += 1
            await asyncio.sleep(max(0.0, begin + number / DEVICES - time.monotonic()))
            now = int(time.time() * 1000)
            values = {f"tag{tag}": round(random.uniform(0, 100), 2) for tag in range(TAGS_OF_A_DEVICE)}
            payload = json.dumps({"ts": now, "v": values}).encode()
            await connection.publish(f"dev/plant/line1/plc{number % DEVICES}", payload)


async def console(port: int, broker: int, pid: int, given: argparse.Namespace) -> dict[str, Any]:
    watched = (random.sample(TOPICS, given.tags) for _ in range(given.clients))
    publishing = asyncio.create_task(publish(broker))
    await open_all(port, [json.dumps({"subscribe": topics, "rate": given.rate}).encode() for topics in watched])
    found = await measured(pid, given.seconds)
    publishing.cancel()
    return found


def floor(listening: socket.socket, rate: int, frame: int) -> None:
    """A server that does no more than write."""
    payload, peers = MARK.rjust(frame), list[asyncio.Transport]()

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            peers.append(transport)

    async def serve() -> None:
        await asyncio.get_running_loop().create_server(Peer, sock=listening, backlog=1000)
        while True:
            for _ in range(50):
                await asyncio.sleep(1 / 50 / rate)
                part = len(peers) // 50
                for peer in peers[:part]:
                    peer.write(payload)
                peers[:] = peers[part:] + peers[:part]

    _allow_descriptors()
    asyncio.run(serve())


def run(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    async def whole() -> dict[str, Any]:
        return await work()

    return asyncio.run(whole())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--tags", type=int, default=10)
    parser.add_argument("--rate", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    _allow_descriptors()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "database").mkdir()
        broker, port = Mosquitto(folder, ANYBODY).start(), free_port()
        with embedded.running(folder / "database") as server:
            with connect(server.url) as connection:
                migrate(connection, Settings())
            environment = {
                "NEXUS_CONSOLE_INSECURE": "1",
                "NEXUS_CONSOLE_PORT": str(port),
                "NEXUS_MQTT_URL": broker.url,
                "NEXUS_DATABASE_URL": as_role(server.url, "nexus_console"),
            }
            process = Nexus(folder, ["console"], environment)
            with ended_with_block(process):
                process.until_ready()
                ours = run(lambda: console(port, broker.port, process.process.pid, given))
        broker.stop()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
    bare = multiprocessing.Process(target=floor, args=(listening, given.rate, ours["bytes_a_frame"]), daemon=True)
    bare.start()

    async def beneath() -> dict[str, Any]:
        await open_all(listening.getsockname()[1], [b"{}"] * given.clients)
        assert bare.pid is not None
        return await measured(bare.pid, given.seconds)

    print(json.dumps({"clients": given.clients, "tags": given.tags, "console": ours, "floor": run(beneath)}))
    bare.terminate()


if __name__ == "__main__":
    main()
