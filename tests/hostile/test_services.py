"""Everything hostile at once, at services that run as in production: nothing stops, is lost, or is called good.

A minute in `make test`, ten in `make chaos`; NEXUS_HOSTILE_SECONDS says how long, NEXUS_HOSTILE_SEED repeats a run.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Production
from tests.hostile import attackers
from tests.hostile.corpus import cases
from tests.integration.test_end_to_end import assert_every_value_once, counted
from tests.parts import Nexus, free_port, publish, until

Start = Callable[..., Nexus]
SECONDS = float(os.environ.get("NEXUS_HOSTILE_SECONDS", "60"))
SEED = int(os.environ.get("NEXUS_HOSTILE_SEED") or time.time())
FILES = sorted((Path(__file__).parent / "files").glob("*.yaml"))

POINTS = """
      - {table: holding, offset: 0, type: uint32, signal: {kind: counter}}
      - {table: holding, offset: 2, type: int16, signal: {kind: constant, value: 5}}
      - {table: coil, offset: 0, type: bool, signal: {kind: constant, value: 0}}
"""
TAGS = """
      - {name: count, address: "holding:40001:uint32", alarms: [{name: odd, when: "count % 20 < 10"}]}
      - {name: setpoint, address: "holding:40003:int16", scale: 0.1, writable: true, min: 0, max: 80}
      - {name: pump, address: "coil:1:bool", writable: true}
"""
NAMES = ("tag", "device")


class Plant:
    """Two devices, and the folder of the files that describe them."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.simulation, self.devices = folder / "simulation.yaml", folder / "devices"
        self.devices.mkdir()
        self.file = self.devices / "plant.yaml"
        simulated = "".join(
            f"  - name: {name}\n    protocol: modbus-tcp\n    port: {port}\n    unit: {unit}\n    points:{POINTS}"
            for unit, name in enumerate(NAMES, 1)
        )
        polled = "".join(
            f"  - name: {name}\n    path: plant/{name}\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {port}\n"
            f"    unit: {unit}\n    interval: 200ms\n    publish: {name}\n    tags:{TAGS}"
            for unit, name in enumerate(NAMES, 1)
        )
        self.simulation.write_text(f"devices:\n{simulated}")
        self.file.write_text(f"devices:\n{polled}")


class Line:
    """The services as in production: roles, users, receipts."""

    def __init__(self, nexus: Start, production: Production, folder: Path) -> None:
        self.plant = Plant(folder)
        self.simulator = nexus("simulate", str(self.plant.simulation))
        self.ingester = nexus(
            "ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.writer, batch_seconds="0.2"
        ).until_ready()
        self.api_port = free_port()
        self.gateway = nexus(
            "gateway",
            "--devices",
            str(self.plant.devices),
            mqtt_url=production.mqtt("gateway-0"),
            api_port=str(self.api_port),
        ).until_ready()

    @property
    def services(self) -> dict[str, Nexus]:
        return {"gateway": self.gateway, "ingester": self.ingester}


@pytest.fixture
def line(nexus: Start, production: Production, tmp_path: Path) -> Line:
    return Line(nexus, production, tmp_path)


def resident(process: Nexus) -> float:
    """MB."""
    text = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(next(row for row in text.splitlines() if row.startswith("VmRSS")).split()[1]) / 1000


def stored(owner: str, topic: str) -> int:
    with psycopg.connect(owner) as connection:
        found = connection.execute("SELECT count(*) FROM metrics WHERE starts_with(topic, %s)", (topic,)).fetchone()
    assert found is not None
    return int(found[0])


def rejected(owner: str, topic: str) -> int:
    with psycopg.connect(owner) as connection:
        found = connection.execute(
            "SELECT count(*) FROM rejects WHERE starts_with(topic, %s)", (topic[:1000],)
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_each_message_becomes_what_it_must(line: Line, production: Production) -> None:
    """A row, or a reject with its reason; and what comes after it is stored."""
    known = cases()
    for case in known:
        publish(production.broker.port, case.topic, case.payload, user="gateway-1")
    for case in known:
        if case.must == "row":
            until(lambda case=case: stored(production.owner, case.topic) >= 1, f"a row of {case.what}")
        elif case.must == "reject":
            until(lambda case=case: rejected(production.owner, case.topic) >= 1, f"a reject of {case.what}")
            assert stored(production.owner, case.topic) == 0, case.what
    before = len(counted(production.owner, "tag"))
    until(lambda: len(counted(production.owner, "tag")) > before + 5, "the plant's readings go on")
    for name, process in line.services.items():
        assert not process.ended(), name


@pytest.mark.timeout(SECONDS + 240)
def test_nothing_stops_nothing_is_lost_and_nothing_lies(line: Line, production: Production) -> None:
    port, rng = production.broker.port, random.Random(SEED)
    until(lambda: all(len(counted(production.owner, name)) > 5 for name in NAMES), "rows of both")
    pids = {name: process.process.pid for name, process in line.services.items()}
    before = {name: resident(process) for name, process in line.services.items()}
    pages = [line.gateway.port, line.ingester.port, line.api_port]
    attacks = {
        "messages": attackers.messages(port, "gateway-1"),
        "more messages": attackers.messages(port, "gateway-2"),
        "receipts": attackers.receipts(
            production.ingestion_port, "ingestion", ["a" * 32, "x", "+", f"{rng.getrandbits(128):032x}"]
        ),
        "presences": attackers.presences(port, "gateway-1", "gateway"),
        "commands": attackers.commands(port, "operator", "plant/tag", ("count", "setpoint", "pump")),
        "alarms": attackers.alarms(port, "gateway-1", "plant/tag"),
        "alarm requests": attackers.alarm_requests(port, "operator", "plant/tag"),
        "http": attackers.http(pages),
        "files": attackers.files(line.plant.devices, line.plant.file, FILES),
        "database": attackers.database(production.owner),
    }
    with attackers.Attacks(attacks, SEED):
        for _ in range(2):
            end = time.monotonic() + SECONDS / 2
            while time.monotonic() < end:
                for process in line.services.values():
                    assert not process.ended()
                time.sleep(0.2)
            if production.broker.process is not None:
                production.broker.stop(signal.SIGKILL)  # and with it all that it held in memory
                production.broker.start()
    for name, process in line.services.items():
        until(lambda process=process: process.get("/ready")[0] == 200, f"{name} is ready again", 90)
        assert process.process.pid == pids[name]
    until(lambda: line.gateway.metric("nexus_gateway_config_error") == 0, "the right files are taken again", 30)
    rows = {name: len(counted(production.owner, name)) for name in NAMES}
    until(lambda: all(len(counted(production.owner, name)) > rows[name] + 10 for name in NAMES), "rows go on", 60)
    assert resident(line.gateway) < before["gateway"] + 100
    for name, process in line.services.items():  # what is handled is no fault of ours, whatever it is
        assert process.metric("nexus_handler_faults_total") == 0, (name, process.log.read_text()[-5000:])
    assert line.gateway.stop() == 0
    until(lambda: line.ingester.metric("nexus_ingestion_buffered_points") == 0, "all is written")
    for name in NAMES:
        assert_every_value_once(production.owner, name)
    for name in NAMES:
        assert_alternates(journal(production.owner, name))
    assert values(production.owner, "setpoint") <= {0.5} | {float(v) for v in range(81)}
    for name, process in {"ingester": line.ingester}.items():
        assert resident(process) < before[name] + 150, "memory"
    faults = {
        name: process.metric("nexus_handler_faults_total") for name, process in {"ingester": line.ingester}.items()
    }
    assert faults == {"ingester": 0}, line.ingester.log.read_text()[-5000:]
    assert line.ingester.stop() == 0


def assert_alternates(events: list[str]) -> None:
    """Raised and cleared in turn; a file that is right may lack the alarm for a moment, active or not."""
    assert len(events) > 4
    is_active = False
    for event in events:
        assert event in ("removed", "cleared" if is_active else "raised"), events
        is_active = event == "raised"


def journal(owner: str, device: str) -> list[str]:
    with psycopg.connect(owner) as connection:
        text = "SELECT event FROM alarm_events WHERE topic = %s ORDER BY time"
        return [event for (event,) in connection.execute(text, (f"alarm/plant/{device}/count/odd",))]


def values(owner: str, tag: str) -> set[float]:
    with psycopg.connect(owner) as connection:
        text = "SELECT DISTINCT value FROM metrics WHERE topic LIKE 'dev/plant/%%/' || %s AND quality = 192"
        return {float(value) for (value,) in connection.execute(text, (tag,)).fetchall()}
