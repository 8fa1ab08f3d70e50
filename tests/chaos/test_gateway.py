"""The gateway while its broker, its devices and its fellows die: nothing lost, nothing twice."""

import itertools
import json
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.chaos import lasting
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]
INTERVAL_MS = 100

POINTS = {
    "modbus-tcp": "{table: holding, offset: 0, type: uint32, signal: %s}",
    "s7": "{area: DB1, offset: 0, type: DWORD, signal: %s}",
    "opcua": "{node: Count, type: int64, signal: %s}",
}
TAGS = {
    "modbus-tcp": '{name: count, address: "holding:40001:uint32"}',
    "s7": '{name: count, address: "DB1.DBD0:DWORD"}',
    "opcua": '{name: count, address: "ns=2;s=Count"}',
}


class Plant:
    """Devices with a counter each, on a port each."""

    def __init__(self, folder: Path, protocols: dict[str, str], signal_: str = "{kind: counter}") -> None:
        self.ports = {name: free_port() for name in protocols}
        self.simulation, self.devices = folder / "plant.yaml", folder / "devices.yaml"
        simulated, polled = "", ""
        for name, protocol in protocols.items():
            port = self.ports[name]
            interval = f"interval: {INTERVAL_MS}ms, " if protocol == "opcua" else ""
            simulated += f"  - {{name: {name}, protocol: {protocol}, port: {port}, {interval}points: [{POINTS[protocol] % signal_}]}}\n"
            where = (
                f'endpoint: "opc.tcp://127.0.0.1:{port}"' if protocol == "opcua" else f"host: 127.0.0.1, port: {port}"
            )
            polled += f"  - {{name: {name}, protocol: {protocol}, {where}, interval: {INTERVAL_MS}ms, tags: [{TAGS[protocol]}]}}\n"
        self.simulation.write_text(f"devices:\n{simulated}")
        self.devices.write_text(f"devices:\n{polled}")


def counted(url: str, device: str) -> list[int]:
    """The counter's good values, in the order of their times."""
    text = "SELECT value FROM metrics WHERE topic = %s AND quality = 192 ORDER BY time"
    with psycopg.connect(url) as connection:
        return [int(value) for (value,) in connection.execute(text, (f"dev/{device}/count",))]


def missing(values: list[int]) -> list[int]:
    """How many values are missing, at each place where some are. Fails for one that is there twice."""
    assert len(values) == len(set(values)), "a value is there twice"
    assert values == sorted(values), "a value has the time of another"
    return [later - earlier - 1 for earlier, later in itertools.pairwise(values) if later - earlier > 1]


def put(process: Nexus, path: str, body: dict[str, object] | None) -> None:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{process.port}{path}", data, method="PUT" if body else "DELETE")
    with urllib.request.urlopen(request, timeout=5):
        pass


Running = Callable[[Plant], tuple[Mosquitto, Nexus, Nexus]]


@pytest.fixture
def running(nexus: Start, persistent_mosquitto: Mosquitto, database: str) -> Running:
    def start(plant: Plant) -> tuple[Mosquitto, Nexus, Nexus]:
        broker = persistent_mosquitto
        simulator = nexus("simulate", str(plant.simulation))
        nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.2").until_ready()
        gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
        for device in plant.ports:
            until(lambda device=device: len(counted(database, device)) > 5, f"rows of {device}")
        return broker, simulator, gateway

    return start


def drained(gateway: Nexus) -> bool:
    # What is live waits for its receipt, so the spool is never quite empty: nothing in it is old.
    waiting = gateway.metric("nexus_gateway_spool_waiting_readings")
    oldest = gateway.metric("nexus_gateway_spool_oldest_seconds")
    return gateway.metric("nexus_gateway_broker_connected") == 1 and waiting < 60 and oldest < 2


def test_a_broker_that_is_away_costs_nothing(tmp_path: Path, running: Running, database: str) -> None:
    plant = Plant(tmp_path, {"modbus": "modbus-tcp", "s7": "s7", "opcua": "opcua"})
    broker, _, gateway = running(plant)
    broker.stop()
    outage = lasting(8, 60)
    until(lambda: gateway.metric("nexus_gateway_spool_readings") > outage * 27, "an outage", outage + 20)
    broker.start()
    until(lambda: drained(gateway), "the spool is empty", 60)
    last = {device: counted(database, device)[-1] for device in plant.ports}
    for device in plant.ports:
        until(lambda device=device: counted(database, device)[-1] > last[device] + 5, "live rows")
        values = counted(database, device)
        assert missing(values) == []
        assert len(values) > outage * 9


@pytest.mark.parametrize(
    ("number", "lost"),
    [
        # The one read that was under way at the stop was counted by the device, and never arrived at the gateway.
        (signal.SIGTERM, 1),
        # What was read in the last moment before the kill was in memory only: a quarter of a second, and a busy disk.
        (signal.SIGKILL, 1000 / INTERVAL_MS),
    ],
)
def test_a_gateway_that_ends_in_an_outage_keeps_what_is_on_disk(
    tmp_path: Path, running: Running, database: str, number: int, lost: float
) -> None:
    plant = Plant(tmp_path, {"modbus": "modbus-tcp"})
    broker, _, gateway = running(plant)
    broker.stop()
    until(lambda: gateway.metric("nexus_gateway_spool_readings") > 50, "readings on disk")
    assert gateway.stop(number) == (0 if number == signal.SIGTERM else -number)
    broker.start()
    gateway.restart()
    gateway.until_ready()
    until(lambda: drained(gateway), "the spool is empty", 60)
    before = len(counted(database, "modbus"))
    until(lambda: len(counted(database, "modbus")) > before + 5, "live rows")
    assert sum(missing(counted(database, "modbus"))) <= lost


def test_devices_whose_connections_drop_every_second_miss_nothing(
    tmp_path: Path, running: Running, database: str
) -> None:
    # The counter goes on by the clock: an answer that is cut off is read again before the value is gone.
    plant = Plant(tmp_path, {"modbus": "modbus-tcp", "s7": "s7"}, "{kind: counter, every: 500ms}")
    _, simulator, gateway = running(plant)
    for _ in range(10):
        for device in plant.ports:
            put(simulator, f"/faults/{device}", {"kind": "drop"})
        time.sleep(0.15)  # at least one request of each falls into it
        for device in plant.ports:
            put(simulator, f"/faults/{device}", None)
        time.sleep(0.85)
    assert gateway.metric("nexus_gateway_device_failures_total") >= 15
    for device in plant.ports:
        values = [
            value
            for value, before in zip(counted(database, device), [None, *counted(database, device)], strict=False)
            if value != before
        ]
        assert missing(values) == []
        assert len(values) >= 18
    lines = [event for event in gateway.events() if event["event"].startswith("device ")]
    assert len(lines) < 100


@pytest.mark.alone  # relieved within ten seconds
def test_the_devices_of_a_killed_gateway_are_polled_by_the_others_and_never_by_two(
    tmp_path: Path, nexus: Start, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant = Plant(tmp_path, {f"d{number}": "modbus-tcp" for number in range(12)})
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateways: list[Nexus] = []

    def connections() -> list[int]:
        found = list(json.loads(simulator.get("/connections")[1]).values())
        if max(found) > 1:  # the simulator may hear of a new connection before it hears of the end of the last one
            time.sleep(0.05)
            again = list(json.loads(simulator.get("/connections")[1]).values())
            logs = "\n\n".join(gateway.log.read_text() for gateway in gateways)
            assert max(again) <= 1, f"two gateways poll one device: {found}, {again}\n{logs}"
        return found

    def start(member: str) -> Nexus:
        return nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, group="edge", member=member)

    gateways += [start(member) for member in "abc"]
    until(lambda: sum(connections()) == 12 and all(polled(one) > 0 for one in gateways), "all devices are polled")
    until(lambda: sum(polled(one) for one in gateways) == 12 and connections(), "the devices are shared")

    share = polled(gateways[0])
    gateways[0].stop(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: sum(connections()) == 12 - share, "its devices are alone", 5)
    until(lambda: sum(connections()) == 12, "its devices are polled again", 10)
    assert time.monotonic() - killed < 10

    gateways[0].restart()
    until(lambda: connections() and polled(gateways[0]) > 0, "it takes its share again")
    until(lambda: sum(connections()) == 12, "all devices are polled")

    assert gateways[1].stop(signal.SIGTERM) == 0
    until(lambda: sum(connections()) == 12, "a clean stop is no wait", 4)

    for _ in range(3):  # a broker that comes and goes
        broker.stop()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            connections()
        broker.start()
        until(lambda: sum(connections()) == 12, "all devices are polled", 30)


def polled(gateway: Nexus) -> float:
    return gateway.metric("nexus_gateway_devices_polled")


def test_a_disk_that_is_full_degrades_and_does_not_kill(
    tmp_path: Path, nexus: Start, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant = Plant(tmp_path, {"modbus": "modbus-tcp"})
    broker = mosquitto()
    nexus("simulate", str(plant.simulation))
    gateway = nexus(
        "gateway", "--devices", str(plant.devices), mqtt_url=broker.url, queue_readings="40", receipts="none"
    ).until_ready()
    until(lambda: gateway.metric("nexus_gateway_readings_total") > 5, "readings")
    import resource  # noqa: PLC0415

    # No file of the process may grow any more: that is what a full disk looks like from inside.
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
    broker.stop()
    until(lambda: gateway.metric("nexus_gateway_spool_failures_total") > 0, "the disk refuses", 60)
    until(lambda: gateway.metric("nexus_gateway_readings_dropped_total") > 0, "memory is full too", 60)
    before = gateway.metric("nexus_gateway_readings_total")
    until(lambda: gateway.metric("nexus_gateway_readings_total") > before + 10, "it polls on")
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    broker.start()
    until(lambda: drained(gateway), "all that is left has gone out", 60)
    until(lambda: "the spool takes readings again" in [event["event"] for event in gateway.events()], "it says so")
    assert gateway.stop() == 0
