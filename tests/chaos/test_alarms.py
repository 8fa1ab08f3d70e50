"""The journal of alarms while gateway, broker, ingester and database are killed: each flip once, in its order."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from nexus.contract import alarm
from tests.chaos import lasting
from tests.chaos.deaths import Deaths
from tests.modbus_writer import ModbusWriter
from tests.parts import Mosquitto, Nexus, Postgres, as_role, free_port, until

Start = Callable[..., Nexus]

TAGS = 40
FLIPS = int(lasting(400, 10_000))
AT_ONCE, PAUSE = 12, 0.4  # flips, and seconds between them: slow enough for some deaths


class Plant:
    """A device whose tags flip; each flips again only once the gateway has written down what it saw.

    What is shorter than a scan, or happens while nobody looks, no gateway can see. `truth` is the simulator's record.
    """

    def __init__(self, folder: Path, nexus: Start) -> None:
        port = free_port()
        points = ", ".join(
            f"{{table: holding, offset: {n}, type: uint16, signal: {{kind: constant, value: 0}}}}" for n in range(TAGS)
        )
        simulation = folder / "plant.yaml"
        simulation.write_text(
            f"devices: [{{name: plc, protocol: modbus-tcp, port: {port}, unit: 1, points: [{points}]}}]"
        )
        tags = "".join(
            f'      - {{name: t{n}, address: "holding:{40001 + n}:uint16", on_change: true, '
            "alarms: [{name: high, above: 0.5}]}\n"
            for n in range(TAGS)
        )
        self.devices = folder / "devices.yaml"
        self.devices.write_text(
            f"devices:\n  - name: plc\n    path: plc\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {port}\n"
            f"    interval: 100ms\n    tags:\n{tags}"
        )
        self.truth: dict[str, list[str]] = {f"alarm/plc/t{n}/high": [] for n in range(TAGS)}
        self._record = folder / "spool" / "alarms-0.db"
        self._writer = ModbusWriter(port)
        nexus("simulate", str(simulation)).until_ready()

    def flip(self, count: int) -> None:
        """Flips tags at random, so many times in all."""
        chance, left = random.Random(1), count
        until(self._record.exists, "a record")
        while left:
            ready = [topic for topic, is_seen in self._seen().items() if is_seen]
            for topic in chance.sample(ready, min(len(ready), left, AT_ONCE)):
                is_on = len(self.truth[topic]) % 2 == 0
                self._writer.set(list(self.truth).index(topic), int(is_on))
                self.truth[topic].append("raised" if is_on else "cleared")
                left -= 1
            time.sleep(PAUSE)
        until(lambda: all(self._seen().values()), "the last are seen", 60)

    def _seen(self) -> dict[str, bool]:
        """Whether the gateway's record has each alarm as it is now."""
        active: dict[str, bool] = {}
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{self._record}?mode=ro", uri=True)) as database:
            for topic, payload in database.execute("SELECT topic, payload FROM word"):
                active[topic] = alarm.decode(topic, payload).record.active
            return {topic: active.get(topic, False) == (len(told) % 2 == 1) for topic, told in self.truth.items()}
        return {}


def journal(database: str) -> dict[str, list[str]]:
    """The events of each alarm, in the order of their times."""
    found: dict[str, list[str]] = {f"alarm/plc/t{n}/high": [] for n in range(TAGS)}
    with psycopg.connect(as_role(database, "nexus_reader")) as connection:
        for topic, event in connection.execute("SELECT topic, event FROM alarm_events ORDER BY time"):
            found[topic].append(event)
    return found


@pytest.mark.timeout(lasting(240, 7200))
def test_the_journal_is_the_simulators_own_record(
    tmp_path: Path, nexus: Start, persistent_mosquitto: Mosquitto, postgres: Postgres
) -> None:
    plant, broker = Plant(tmp_path, nexus), persistent_mosquitto
    writer = as_role(postgres.url, "nexus_writer")
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=writer, batch_seconds="0.2").until_ready()
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, receipts="ingestion").until_ready()
    with Deaths(broker, gateway, ingester, postgres, seed=2) as deaths:
        plant.flip(FLIPS)
    assert deaths.rounds >= lasting(1, 20)
    with suppress(AssertionError):
        until(lambda: journal(postgres.url) == plant.truth, "the journal is whole", lasting(60, 300))
    assert journal(postgres.url) == plant.truth
    assert sum(map(len, plant.truth.values())) == FLIPS
