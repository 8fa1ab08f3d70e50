"""Readings stay with the gateway until they are in the database."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from nexus import mqtt
from nexus.contract.receipt import decode_receipt
from nexus.mqtt import Client
from tests.integration.test_end_to_end import Plant, Start, assert_every_value_once, counted, query, retained, start
from tests.parts import Mosquitto, until

ONE, TWO, THREE = "01" * 16, "02" * 16, "03" * 16
AT = 1703289600000


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_what_contradicts_the_table_and_is_not_kept_gets_no_receipt(
    nexus: Start, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    keys = {"batch_seconds": "0.1", "rejects_rows": "0"}
    nexus("ingest", mqtt_url=broker.url, database_url=database, **keys).until_ready()
    heard: set[int] = set()

    def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard.update(n for first, last in decode_receipt(message.payload) for n in range(first, last + 1))
        connection.acknowledge(message.packet_id)

    async def scenario() -> None:
        async with mqtt.connect(broker.login("gateway"), Client("gw"), keep) as connection:
            await connection.subscribe(f"receipt/{ONE}")
            for number, value, tag in ((1, 1, "a"), (7, 2, "a"), (8, 1, "b"), (9, 1, "c")):
                payload = {"v": value, "ts": AT, "p": ONE, "n": number}
                await (await connection.publish(f"dev/{tag}/t", json.dumps(payload).encode()))
                async with asyncio.timeout(60):
                    while number not in heard | {7}:
                        await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert heard == {1, 8, 9}, "the value of 7 is in no table"
    assert query(database, "SELECT value FROM metrics WHERE topic = 'dev/a/t'") == [(1.0,)]


def test_ranges_of_what_is_committed_are_told_to_who_sent_it(
    nexus: Start, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.1").until_ready()
    assert retained(broker, "receipt-offer/+", "gateway") == {"receipt-offer/ingestion": b'{"state":"online"}'}
    heard: dict[str, set[int]] = {}

    def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
        numbers = {n for first, last in decode_receipt(message.payload) for n in range(first, last + 1)}
        heard.setdefault(message.topic, set()).update(numbers)
        connection.acknowledge(message.packet_id)

    async def scenario() -> None:
        async with mqtt.connect(broker.login("gateway"), Client("gw"), keep) as connection:
            await connection.subscribe(f"receipt/{ONE}")
            await connection.subscribe(f"receipt/{TWO}")
            for number in (1, 2, 3, 5):
                payload = {"v": number, "ts": AT + number, "p": ONE, "n": number}
                await (await connection.publish("dev/a/t", json.dumps(payload).encode()))
            whole = {"ts": AT, "v": {"x": 1, "y": [2]}, "p": TWO, "n": 10, "m": 11}
            await (await connection.publish("dev/a", json.dumps(whole).encode()))
            record = {"id": "ab" * 16, "ts": AT, "event": "write", "ok": True, "p": TWO, "n": 12}
            await (await connection.publish("audit/a/t", json.dumps(record).encode()))
            await (await connection.publish("dev/a", b'{"ts":"never","p":"%s","n":40}' % TWO.encode()))
            forged = {"ts": AT, "v": {"z": 1}, "p": THREE, "n": 1, "m": 2**40}  # of somebody who was overheard
            await (await connection.publish("dev/a", json.dumps(forged).encode()))
            await (await connection.publish("dev/b/t", json.dumps({"v": 1, "ts": AT, "p": ONE, "n": 6}).encode()))
            async with asyncio.timeout(60):
                while heard != {f"receipt/{ONE}": {1, 2, 3, 5, 6}, f"receipt/{TWO}": {10, 11, 12, 40}}:
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert query(database, "SELECT count(*) FROM metrics") == [(7,)]
    assert query(database, "SELECT count(*) FROM rejects") == [(2,)]
    assert query(database, "SELECT topic FROM audit") == [("audit/a/t",)]
    assert ingester.metric("nexus_ingestion_misnumbered_total") == 1


def test_a_broker_that_forgets_everything_loses_nothing(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    ingester, gateway = start(nexus, plant, broker, database, receipts="ingestion")
    until(lambda: counted(database, "tag"), "rows")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE metrics RENAME TO hidden")
        until(lambda: gateway.metric("nexus_gateway_spool_readings") > 100, "what has no receipt is kept")
        assert gateway.metric("nexus_gateway_spool_oldest_seconds") >= 0
        ingester.stop(signal.SIGKILL)
        broker.stop(signal.SIGKILL)  # with all that waited for the database
        connection.execute("ALTER TABLE hidden RENAME TO metrics")
    broker.start()
    ingester.restart()
    until(lambda: gateway.metric("nexus_gateway_readings_sent_again_total") > 0, "it is sent again", 60)
    for device in ("tag", "device"):  # what the dead broker had acknowledged too, once it is overtaken
        until(lambda device=device: len(counted(database, device)) > 50, "rows")
        until(lambda device=device: counted(database, device)[-1] == len(counted(database, device)) - 1, "no gap", 60)
    assert gateway.stop() == 0
    until(lambda: ingester.metric("nexus_ingestion_buffered_points") == 0, "all is written")
    for device in ("tag", "device"):
        assert_every_value_once(database, device)


def test_a_clean_stop_leaves_nothing_behind(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str, tmp_path: Path
) -> None:
    broker = mosquitto()
    _, gateway = start(nexus, plant, broker, database, receipts="ingestion")
    until(lambda: len(counted(database, "tag")) > 5, "rows")
    assert gateway.stop() == 0
    [file] = (tmp_path / "spool").glob("*.db")
    with closing(sqlite3.connect(file)) as spool:
        assert spool.execute("SELECT count(*) FROM message").fetchone() == (0,)
    assert_every_value_once(database, "tag")


def test_a_killed_gateway_sends_again_what_it_had_no_receipt_for(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    nexus("simulate", str(plant.simulation))
    keys = {"mqtt_url": broker.url, "receipts": "ingestion"}
    gateway = nexus("gateway", "--devices", str(plant.devices), **keys).until_ready()
    until(lambda: gateway.metric("nexus_gateway_spool_readings") > 60, "readings are kept: no ingester takes them")
    assert gateway.metric("nexus_gateway_receipts_offered") == 0
    gateway.stop(signal.SIGKILL)
    gateway.restart()
    gateway.until_ready()
    nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.2").until_ready()
    until(lambda: gateway.metric("nexus_gateway_receipts_offered") == 1, "receipts are offered")
    until(
        lambda: len(counted(database, "tag")) > 20 and gateway.metric("nexus_gateway_spool_readings") < 60,
        "all is told",
        60,
    )
    assert gateway.stop() == 0
    values = counted(database, "tag")
    assert len(values) == len(set(values))
    assert values[0] < 10, "from the first life"


def test_ingesters_beside_each_other_have_a_slot_each_and_a_new_one_takes_that_of_the_dead(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], database: str
) -> None:
    broker = mosquitto()
    nexus("simulate", str(plant.simulation))
    keys = {"mqtt_url": broker.url, "database_url": database, "batch_seconds": "0.2"}
    ingesters = [nexus("ingest", **keys) for _ in range(3)]
    nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, receipts="ingestion").until_ready()

    def slots() -> set[float]:
        return {one.metric("nexus_ingestion_slot") for one in ingesters}

    until(lambda: slots() == {0, 1, 2}, "three slots")
    until(lambda: all(one.metric("nexus_ingestion_rows_total") > 10 for one in ingesters), "rows from each")
    ingesters[1].stop(signal.SIGKILL)
    ingesters[1].restart()
    until(lambda: slots() == {0, 1, 2}, "the slot is taken again")
    before = len(counted(database, "tag"))
    until(lambda: len(counted(database, "tag")) > before + 20, "rows")
    assert [one.stop() for one in ingesters] == [0, 0, 0]
