"""What the gateway costs, against floors measured in the same run. Prints JSON.

    python -m tests.benchmarks.poll [CASE …] [--seconds N]

Simulator, broker and gateway are processes of their own; each one's CPU is taken from /proc. The machine is shared:
compare ratios of one run, not figures of two.
"""

import argparse
import asyncio
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus import mqtt
from nexus.mqtt import Broker, Client
from tests.parts import Mosquitto, Nexus, ended_with_block, free_port, until

TICKS = os.sysconf("SC_CLK_TCK")
LATENESS = "nexus_gateway_lateness_seconds"
SLOTS = 50  # a second, in which the floor asks


class Usage:
    """CPU of a process since this was made, as a share of one core, and its memory."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._cpu = time.monotonic(), self._seconds()

    def _seconds(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cpu(self) -> float:
        return round((self._seconds() - self._cpu) / (time.monotonic() - self._began), 3)

    def seconds(self) -> float:
        return self._seconds() - self._cpu

    def rss_mb(self) -> float:
        fields = Path(f"/proc/{self._pid}/status").read_text().split("VmRSS:")[1].split()
        return round(int(fields[0]) / 1024, 1)


class Histogram:
    """The difference of a Prometheus histogram between two moments."""

    def __init__(self, process: Nexus, name: str) -> None:
        self._process, self._name = process, name
        self._before = self._read()

    def _read(self) -> dict[float, float]:
        found = {}
        for line in self._process.get("/metrics")[1].splitlines():
            if line.startswith(f"{self._name}_bucket"):
                found[float(line.split('le="')[1].split('"')[0])] = float(line.rsplit(" ", 1)[1])
        return found

    def count(self) -> float:
        """So many were observed since."""
        return self._read()[float("inf")] - self._before[float("inf")]

    def percentile(self, share: float) -> float:
        """An upper bound: the bucket's, interpolated."""
        now = self._read()
        counts = sorted((bound, now[bound] - self._before[bound]) for bound in now)
        wanted, lower, below = share * counts[-1][1], 0.0, 0.0
        for bound, count in counts:
            if count >= wanted:
                inside = (wanted - below) / (count - below) if count > below else 1.0
                return round(lower + ((bound if bound != float("inf") else lower) - lower) * inside, 4)
            lower, below = bound, count
        return lower


def _allow_most_files() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def parts(simulation: str, devices: str, **environment: str) -> Iterator[tuple[Nexus, Nexus, Mosquitto]]:
    """Simulator, gateway and broker, ready."""
    _allow_most_files()
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        (folder / "plant.yaml").write_text(simulation)
        simulator = Nexus(folder, ["simulate", str(folder / "plant.yaml")], {})
        with ended_with_block(simulator):
            until(lambda: simulator.get("/ready")[0] == 200 or simulator.ended(), "the simulator serves", 60)
            with _gateway(devices, **environment) as (gateway, broker):
                yield simulator, gateway, broker


@contextmanager
def _gateway(devices: str, **environment: str) -> Iterator[tuple[Nexus, Mosquitto]]:
    """Gateway and broker, ready."""
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        (folder / "devices.yaml").write_text(devices)
        broker = Mosquitto(folder, "allow_anonymous true\nlog_type none").start()
        try:
            keys = {f"NEXUS_{key.upper()}": text for key, text in environment.items()}
            gateway = Nexus(
                folder,
                ["gateway", "--devices", str(folder / "devices.yaml")],
                {"NEXUS_MQTT_URL": broker.url, "NEXUS_RECEIPTS": "none", **keys},  # nobody has subscribed,
            )
            with ended_with_block(gateway):
                gateway.until_ready()
                yield gateway, broker
        finally:
            broker.stop()


def modbus_plant(
    devices: int, tags: int, port: int, interval: str = "1s", publish: str = "device", spread: int = 20
) -> tuple[str, str]:
    """A simulation and its device file: so many devices, behind `spread` ports."""
    points = ", ".join(
        f"{{table: holding, offset: {2 * n}, type: float32, signal: {{kind: sine, min: 0, max: 100}}}}"
        for n in range(tags)
    )
    simulated, polled = [], []
    tag_lines = "".join(f'\n      - {{name: t{n}, address: "holding:{40001 + 2 * n}:float32"}}' for n in range(tags))
    for number in range(devices):
        where, unit = port + number % spread, number // spread + 1
        simulated.append(f"  - {{name: d{number}, protocol: modbus-tcp, port: {where}, unit: {unit}, points: *points}}")
        polled.append(f"  - {{name: d{number}, template: meter, port: {where}, unit: {unit}}}")
    first = simulated[0].replace("*points", f"&points [{points}]")
    simulation = "devices:\n" + "\n".join([first, *simulated[1:]]) + "\n"
    template = (
        f"templates:\n  meter:\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    interval: {interval}\n"
        f"    publish: {publish}\n    tags:{tag_lines}\n"
    )
    return simulation, f"{template}devices:\n" + "\n".join(polled) + "\n"


def thousand_devices(seconds: float) -> dict[str, Any]:
    """1,000 devices × 20 tags at 1 s, a connection each."""
    simulation, devices = modbus_plant(1000, 20, 21000, spread=1000)
    return _scans(simulation, devices, seconds)


def shared_lines(seconds: float) -> dict[str, Any]:
    """The same 1,000 devices behind 20 ports: 50 units share a connection."""
    simulation, devices = modbus_plant(1000, 20, 21000, spread=20)
    return _scans(simulation, devices, seconds)


def dead_devices(seconds: float) -> dict[str, Any]:
    """1,000 devices, of which 50 refuse, are black-holed or hang: what the others notice of it."""
    simulation, devices = modbus_plant(1000, 20, 21000, spread=1000)
    alone = _scans(simulation, devices, seconds)

    def spoil(simulator: Nexus) -> None:
        for number in range(50):
            kind = ("refuse", "hang", "drop")[number % 3]
            _put(simulator, f"/faults/d{number}", {"kind": kind})

    beside = _scans(simulation, devices, seconds, spoil, wait=8)
    change = (beside["lateness_p99_s"] - alone["lateness_p99_s"]) * 1000
    return {"alone": alone, "with_50_dead": beside, "p99_change_ms": round(change, 1)}


def _put(process: Nexus, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{process.port}{path}", json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=5):
        pass


def _scans(
    simulation: str, devices: str, seconds: float, spoil: Callable[[Nexus], None] | None = None, wait: float = 4
) -> dict[str, Any]:
    with parts(simulation, devices) as (simulator, gateway, _):
        until(lambda: gateway.metric("nexus_gateway_devices_polled") > 0, "polling")
        if spoil is not None:
            time.sleep(2)
            spoil(simulator)
        time.sleep(wait)  # the connections are made, the first plans too
        lateness = Histogram(gateway, LATENESS)
        readings, missed = (
            gateway.metric("nexus_gateway_readings_total"),
            gateway.metric("nexus_gateway_ticks_missed_total"),
        )
        own, theirs, began = Usage(gateway.process.pid), Usage(simulator.process.pid), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return {
            "readings_per_s": round((gateway.metric("nexus_gateway_readings_total") - readings) / took),
            "lateness_p50_s": lateness.percentile(0.5),
            "lateness_p99_s": lateness.percentile(0.99),
            "ticks_missed": gateway.metric("nexus_gateway_ticks_missed_total") - missed,
            "gateway_cpu": own.cpu(),
            "gateway_rss_mb": own.rss_mb(),
            "simulator_cpu": theirs.cpu(),
        }


def scan_cost(seconds: float) -> dict[str, Any]:
    """CPU of one scan of 20 tags, from timer to PUBACK, at 1 s and `publish: device`.

    The floor sends the same requests to the same devices over bare asyncio, and throws the answers away.
    """
    return {f"{devices}_devices": _scan_cost(devices, 20, seconds) for devices in (100, 500, 1000)}


def _scan_cost(devices: int, tags: int, seconds: float) -> dict[str, Any]:
    port = 21000
    _, polled = modbus_plant(devices, tags, port, spread=devices)
    command = [sys.executable, "-m", "tests.benchmarks.modbus_server", str(port), str(devices)]
    _allow_most_files()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            with _gateway(polled) as (gateway, _):
                found = _scanned(gateway, devices, seconds)
            floor = asyncio.run(_bare_scans(port, devices, 2 * tags, seconds))
        finally:
            server.kill()
    cost = found["cpu_us_per_scan"]
    return {
        **found,
        "cpu_us_per_value": round(cost / tags, 2),
        "floor_cpu_us_per_scan": round(floor, 1),
        "ratio": round(cost / floor, 2),
    }


def _scanned(gateway: Nexus, devices: int, seconds: float) -> dict[str, Any]:
    until(lambda: gateway.metric("nexus_gateway_devices_polled") == devices, "polling")
    time.sleep(4)  # the connections are made, the first plans too
    lateness, missed = Histogram(gateway, LATENESS), gateway.metric("nexus_gateway_ticks_missed_total")
    usage = Usage(gateway.process.pid)
    time.sleep(seconds)
    used, scans = usage.seconds(), lateness.count()
    return {
        "scans_per_s": round(scans / seconds),
        "cpu_us_per_scan": round(used / scans * 1e6, 1),
        "lateness_p50_ms": round(lateness.percentile(0.5) * 1000, 1),
        "lateness_p99_ms": round(lateness.percentile(0.99) * 1000, 1),
        "lateness_p999_ms": round(lateness.percentile(0.999) * 1000, 1),
        "ticks_missed": gateway.metric("nexus_gateway_ticks_missed_total") - missed,
        "rss_mb": usage.rss_mb(),
    }


class _BareDevice(asyncio.Protocol):
    """A connection that sends the same request again and again."""

    def __init__(self, registers: int) -> None:
        self._request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, registers)
        self._size = 9 + 2 * registers
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answers += len(data) == self._size

    def ask(self) -> None:
        self.transport.write(self._request)


async def _bare_scans(port: int, devices: int, registers: int, seconds: float) -> float:
    """Each device once a second, those of the same 20 ms together: CPU of this process in µs a request."""
    loop = asyncio.get_running_loop()
    made = [_BareDevice(registers) for _ in range(devices)]
    for number, one in enumerate(made):
        await loop.create_connection(lambda one=one: one, "127.0.0.1", port + number)  # type: ignore[misc]

    slots, began = [made[first::SLOTS] for first in range(SLOTS)], loop.time()
    used = time.process_time()
    for number in range(round(seconds * SLOTS)):
        await asyncio.sleep(began + number / SLOTS - loop.time())
        for one in slots[number % SLOTS]:
            one.ask()
    await asyncio.sleep(0.1)
    used = time.process_time() - used
    for one in made:
        one.transport.close()
    return used / sum(one.answers for one in made) * 1e6


def tag_messages(seconds: float) -> dict[str, Any]:
    """`publish: tag`: messages a second from one process to Mosquitto, QoS 1; the floor is the client alone."""
    simulation, devices = modbus_plant(250, 60, 21000, interval="500ms", publish="tag", spread=250)
    with parts(simulation, devices) as (_, gateway, broker):
        until(lambda: gateway.metric("nexus_gateway_devices_polled") == 250, "polling")
        time.sleep(3)
        before, usage, began = (
            gateway.metric("nexus_gateway_messages_published_total"),
            Usage(gateway.process.pid),
            time.monotonic(),
        )
        time.sleep(seconds)
        after, took = gateway.metric("nexus_gateway_messages_published_total"), time.monotonic() - began
        ours = {"messages_per_s": round((after - before) / took), "gateway_cpu": usage.cpu()}
        spooled = gateway.metric("nexus_gateway_spool_readings")
        gateway.stop()
        return {
            "offered_per_s": 30_000,
            **ours,
            "spooled_readings": spooled,
            "client_alone_per_s": asyncio.run(_publish_loop(broker, seconds)),
        }


async def _publish_loop(broker: Mosquitto, seconds: float) -> int:
    payload = b'{"v":84.5,"q":"good","ts":1703289600000,"u":"V"}'
    async with mqtt.connect(Broker("127.0.0.1", broker.port), Client("floor")) as connection:
        done, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _ in range(100):
                last = await connection.publish("dev/plant/line1/plc001/temperature", payload)
            done += 100
        await last
        return round(done / seconds)


def opcua_items(seconds: float) -> dict[str, Any]:
    """10,000 monitored items that change once a second, spread over four servers."""
    servers, items = 4, 2500
    port = free_port()
    simulated, polled = [], []
    for number in range(servers):
        points = ", ".join(f"{{node: N{n}, signal: {{kind: ramp, min: 0, max: 100}}}}" for n in range(items))
        simulated.append(
            f"  - {{name: s{number}, protocol: opcua, port: {port + number}, interval: 1s, points: [{points}]}}"
        )
        tags = "".join(f'\n      - {{name: n{n}, address: "ns=2;s=N{n}"}}' for n in range(items))
        polled.append(
            f"  - name: s{number}\n    protocol: opcua\n    endpoint: opc.tcp://127.0.0.1:{port + number}\n    timeout: 20s\n    publish: device\n    tags:{tags}"
        )
    with parts("devices:\n" + "\n".join(simulated), "devices:\n" + "\n".join(polled)) as (simulator, gateway, _):
        until(lambda: gateway.metric("nexus_gateway_readings_total") >= servers * items, "all nodes are heard", 60)
        time.sleep(5)
        before, own, theirs, began = (
            gateway.metric("nexus_gateway_readings_total"),
            Usage(gateway.process.pid),
            Usage(simulator.process.pid),
            time.monotonic(),
        )
        time.sleep(seconds)
        took = time.monotonic() - began
        return {
            "changes_per_s": round((gateway.metric("nexus_gateway_readings_total") - before) / took),
            "gateway_cpu": own.cpu(),
            "gateway_rss_mb": own.rss_mb(),
            "simulator_cpu": theirs.cpu(),
        }


def s7_devices(seconds: float) -> dict[str, Any]:
    """200 PLCs × 200 bytes (50 REAL) at 1 s."""
    port = 21000
    points = ", ".join(
        f"{{area: DB1, offset: {4 * n}, type: REAL, signal: {{kind: sine, min: 0, max: 100}}}}" for n in range(50)
    )
    simulated = [f"  - {{name: d{n}, protocol: s7, port: {port + n}, points: *points}}" for n in range(200)]
    simulated[0] = simulated[0].replace("*points", f"&points [{points}]")
    tags = "".join(f'\n      - {{name: t{n}, address: "DB1.DBD{4 * n}:REAL"}}' for n in range(50))
    template = f"templates:\n  plc:\n    protocol: s7\n    host: 127.0.0.1\n    publish: device\n    tags:{tags}\n"
    polled = [f"  - {{name: d{n}, template: plc, port: {port + n}}}" for n in range(200)]
    return _scans("devices:\n" + "\n".join(simulated), template + "devices:\n" + "\n".join(polled), seconds)


CASES = {
    case.__name__: case
    for case in (thousand_devices, shared_lines, scan_cost, tag_messages, opcua_items, s7_devices, dead_devices)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help="all, if none is named")
    parser.add_argument("--seconds", type=float, default=20)
    parsed = parser.parse_args()
    results = {name: CASES[name](parsed.seconds) for name in parsed.case or CASES}
    json.dump(
        {"python": sys.version.split()[0], "cores": os.cpu_count(), "load": os.getloadavg(), **results},
        sys.stdout,
        indent=2,
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
