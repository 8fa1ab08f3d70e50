"""The whole way of a reading, in processes of its own: simulator, gateway, broker, ingester, database."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nexus import mqtt
from nexus.mqtt import Client
from tests.conftest import TIERS
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]

POINTS = """
      - {table: holding, offset: 0, type: uint32, signal: {kind: counter}}
      - {table: holding, offset: 2, type: float32, signal: {kind: sine, min: 0, max: 100}}
      - {table: coil, offset: 0, type: bool, signal: {kind: constant, value: 1}}
"""
TAGS = """
      - {name: count, address: "holding:40001:uint32"}
      - {name: level, address: "holding:40003:float32", unit: "m³"}
      - {name: running, address: "coil:1:bool"}
"""


class Plant:
    """Simulated devices and the files that describe them; `tag` and `device` publish as they are called."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.simulation = folder / "plant.yaml"
        self.devices = folder / "devices.yaml"
        names = ("tag", "device")
        simulated = "".join(
            f"  - name: {name}\n    protocol: modbus-tcp\n    port: {self.port}\n    unit: {unit}\n    points:{POINTS}"
            for unit, name in enumerate(names, 1)
        )
        polled = "".join(
            f"  - name: {name}\n    path: plant/{name}\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {self.port}\n"
            f"    unit: {unit}\n    interval: 100ms\n    publish: {name}\n    breaker: {{failures: 2, open_for: 500ms}}\n    tags:{TAGS}"
            for unit, name in enumerate(names, 1)
        )
        self.simulation.write_text(f"devices:\n{simulated}", encoding="utf-8")
        self.devices.write_text(f"devices:\n{polled}", encoding="utf-8")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def start(nexus: Start, plant: Plant, broker: Mosquitto, database: str, **keys: str) -> tuple[Nexus, Nexus]:
    """Starts the plant's simulator, an ingester and a gateway, and gives the latter two; `keys` are the gateway's."""
    nexus("simulate", str(plant.simulation))
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.2").until_ready()
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, **keys).until_ready()
    return ingester, gateway


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(text).fetchall()


def counted(url: str, device: str) -> list[int]:
    """The counter's values of a device, in the order of their times."""
    text = f"SELECT value FROM metrics WHERE topic = 'dev/plant/{device}/count' AND quality = 192 ORDER BY time"
    return [int(value) for (value,) in query(url, text)]


def assert_every_value_once(url: str, device: str) -> None:
    found = counted(url, device)
    assert found == list(range(found[0], found[0] + len(found)))


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_readings_become_rows(nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str) -> None:
    broker = mosquitto()
    start(nexus, plant, broker, database)
    for device in ("tag", "device"):
        until(lambda device=device: len(counted(database, device)) > 10, f"rows of {device}")
        assert_every_value_once(database, device)
    [(value, text, quality, unit)] = query(
        database, "SELECT value, value_str, quality, unit FROM metrics WHERE topic = 'dev/plant/device/level' LIMIT 1"
    )
    assert 0 <= value <= 100
    assert (text, quality, unit) == (None, 192, "m³")
    assert query(database, "SELECT DISTINCT value FROM metrics WHERE topic LIKE '%/running'") == [(1.0,)]
    assert query(database, "SELECT count(*) FROM rejects") == [(0,)]


def test_an_ingester_killed_in_the_middle_loses_and_doubles_nothing(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    ingester, gateway = start(nexus, plant, broker, database)
    for _ in range(3):
        before = len(counted(database, "tag"))
        until(lambda before=before: len(counted(database, "tag")) > before + 5, "rows")
        ingester.stop(signal.SIGKILL)
        ingester.restart()
        ingester.until_ready()
    assert gateway.stop() == 0
    until(lambda: ingester.metric("nexus_ingestion_buffered_points") == 0, "all is written")
    assert ingester.stop() == 0
    for device in ("tag", "device"):
        assert_every_value_once(database, device)


def test_a_database_outage_loses_nothing(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    ingester, gateway = start(nexus, plant, broker, database)
    until(lambda: counted(database, "tag"), "rows")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE metrics RENAME TO hidden")
        until(lambda: ingester.metric("nexus_ingestion_database_up") == 0, "the outage is noticed")
        assert "the database" in ingester.get("/ready")[1]
        connection.execute("ALTER TABLE hidden RENAME TO metrics")
    before = len(counted(database, "tag"))
    until(lambda: len(counted(database, "tag")) > before + 10, "rows after the outage")
    until(lambda: ingester.metric("nexus_ingestion_database_up") == 1, "the return is noticed")
    assert gateway.stop() == 0
    # Of two batches that waited for the database, either may be tried again first.
    until(lambda: ingester.metric("nexus_ingestion_buffered_points") == 0, "all is written")
    for device in ("tag", "device"):
        assert_every_value_once(database, device)


HOSTILE = {
    "dev/x/binary": b"\xff\xfe\x00\x01",
    "dev/x/empty": b"",
    "dev/x/text": b"hello",
    "dev/x/types": b'{"v": [1, 2], "ts": "now"}',
    "dev/x/deep": b'{"v":' + b"[" * 50_000 + b"]" * 50_000 + b', "ts": 1}',
    "dev/x/nul": b'{"v": "a\\u0000b", "ts": 1703289600000}',
    "dev/x/future": b'{"v": 1, "ts": 99999999999999}',
    "dev/x/past": b'{"v": 1, "ts": -1}',
    "dev/x/huge": b'{"v": "' + b"x" * 2_000_000 + b'", "ts": "no"}',
    "dev": b'{"v": 1, "ts": 1703289600000, "q": "fine"}',
    "dev/" + "".join(map(chr, range(0x4E00, 0x5400))): b'{"v": 1, "ts": 1703289600000}',
}


def test_messages_that_are_not_ours_are_set_aside(
    nexus: Start, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.1").until_ready()

    async def publish() -> None:
        async with mqtt.connect(broker.login("gateway"), Client("hostile")) as connection:
            for topic, payload in HOSTILE.items():
                await (await connection.publish(topic, payload))
            mixed = b'{"ts": 1703289600000, "v": {"good": 1, "bad": {"a": 1}, "nul": "\\u0000"}}'
            await (await connection.publish("dev/x/mixed", mixed))
            await (await connection.publish("dev/x/last", b'{"v": 1, "ts": 1703289600000}'))

    asyncio.run(publish())
    until(lambda: query(database, "SELECT 1 FROM metrics WHERE topic = 'dev/x/last'"), "what is ours is stored")
    assert query(database, "SELECT topic FROM metrics ORDER BY 1") == [("dev/x/last",), ("dev/x/mixed/good",)]
    rejects = dict(query(database, "SELECT topic, reason FROM rejects"))
    assert set(rejects) == set(HOSTILE) | {"dev/x/mixed"}
    [(tags,)] = query(database, "SELECT tags FROM rejects WHERE topic = 'dev/x/mixed'")
    assert set(tags) == {"bad", "nul"}
    assert all(rejects.values())
    assert ingester.metric("nexus_ingestion_rejects_total") == len(rejects)
    assert ingester.stop() == 0


def test_device_states_and_presence_are_retained(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, member="edge-1").until_ready()

    def state() -> str | None:
        found = retained(broker, "status/plant/tag").get("status/plant/tag")
        return json.loads(found)["state"] if found else None

    until(lambda: state() == "online", "the device is online")
    assert json.loads(retained(broker, "gateway/#")["gateway/gateway/gateway/edge-1"])["state"] == "online"
    simulator.stop(signal.SIGKILL)
    until(lambda: state() == "offline", "the device is offline")
    simulator.restart()
    until(lambda: state() == "online", "the device is back")
    assert gateway.stop() == 0
    assert state() == "offline"
    assert retained(broker, "gateway/#") == {}


def test_a_killed_gateway_is_absent(nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, member="edge-1").until_ready()
    here = "gateway/gateway/gateway/edge-1"
    until(lambda: here in retained(broker, "gateway/#"), "it is present")
    gateway.stop(signal.SIGKILL)
    until(lambda: json.loads(retained(broker, "gateway/#")[here])["state"] == "lost", "its last will says so")
    gateway.restart()
    until(lambda: json.loads(retained(broker, "gateway/#")[here])["state"] == "online", "it is there again")


def retained(broker: Mosquitto, topic_filter: str, user: str = "viewer") -> dict[str, bytes]:
    """What a new subscriber is told at once."""
    found: dict[str, bytes] = {}

    def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
        found[message.topic] = message.payload
        connection.acknowledge(message.packet_id)

    async def subscribe() -> None:
        async with mqtt.connect(broker.login(user), Client(f"r{time.time_ns()}"), keep) as connection:
            await connection.subscribe(topic_filter)
            # Retained messages follow the SUBACK; a second round trip shows that they have come.
            await connection.subscribe("nothing/here")

    asyncio.run(subscribe())
    return found


def test_a_broker_outage_is_survived(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    _, gateway = start(nexus, plant, broker, database)
    until(lambda: counted(database, "tag"), "rows")
    broker.stop()
    until(lambda: gateway.metric("nexus_gateway_spool_readings") > 60, "readings wait on disk")
    broker.start()
    # Never quite: what was read last waits for its receipt.
    until(lambda: gateway.metric("nexus_gateway_spool_oldest_seconds") < 3, "what waited has left the disk", 60)
    before = len(counted(database, "tag"))
    until(lambda: len(counted(database, "tag")) > before + 5, "rows flow again", 60)
