"""Rules while they, the broker, the ingester and the database are killed: journal and totals are those of the inputs."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from ingestion.rules.evaluation import RuleState, decode_state
from nexus.contract import alarm
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading, Value
from tests.chaos import lasting
from tests.chaos.deaths import Deaths
from tests.parts import Mosquitto, Nexus, Postgres, as_role, publish, until

Start = Callable[..., Nexus]

DEATHS = int(lasting(1, 20))  # of each, at least
SLOW_FLIPS = int(lasting(4, 60))
PAUSE = 0.05  # seconds between two inputs
RATE = 10.0
# The gaps that a busy machine makes are none: what is `stale` decides which are.
RULES = """
rules:
  - name: fast
    path: plant/fast
    inputs: {a: plant/plc1/a, b: plant/plc2/b}
    tags:
      - {name: sum, expression: a + b, alarms: [{name: high, above: 500}]}
      - {name: rises, count: a > 500}
  - name: slow
    path: plant/slow
    inputs: {c: plant/plc3/c, b: plant/plc2/b}
    alarms: [{name: long, when: c > b, on_delay: 300ms}]
  - name: energy
    path: plant/energy
    inputs: {rate: {topic: plant/plc2/rate, stale: 10m}}
    tags: [{name: total, total: rate, per: s}]
"""
FAST, SLOW = "alarm/plant/fast/sum/high", "alarm/plant/slow/long"


class Plant:
    """Devices of which each value is said until the broker has it; `truth` is the record of what they did."""

    def __init__(self, port: int, database: str) -> None:
        self._port, self._database = port, database
        self.last = 0  # epoch ms, of what was said
        self.truth: dict[str, list[str]] = {FAST: [], SLOW: []}
        for device, tag, value in (("plc2", "b", 0.0), ("plc2", "rate", RATE), ("plc1", "a", 0.0), ("plc3", "c", 0.0)):
            self.say(device, tag, value)
            if tag == "rate":
                self.began = self.last

    def say(self, device: str, tag: str, value: Value) -> None:
        self.last = max(self.last + 1, int(time.time() * 1000))
        payload = encode_tag(Reading(tag, self.last, value))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError):
                publish(self._port, f"dev/plant/{device}/{tag}", payload)
                return
            time.sleep(0.1)
        raise AssertionError("the broker did not come back")

    def flip_fast(self) -> None:
        told = self.truth[FAST]
        is_on = len(told) % 2 == 0
        self.say("plc1", "a", 1_000.0 if is_on else 0.0)
        told.append("raised" if is_on else "cleared")

    def flip_slow(self) -> None:
        """Only once the rules have written down what it was: what is shorter than its delay calls nobody."""
        told = self.truth[SLOW]
        if self._is_active() == (len(told) % 2 == 1):
            is_on = len(told) % 2 == 0
            self.say("plc3", "c", float(is_on))
            told.append("raised" if is_on else "cleared")

    def _is_active(self) -> bool | None:
        """Of the slow alarm, as far as the database says."""
        with suppress(psycopg.Error), psycopg.connect(self._database, connect_timeout=2) as connection:
            found = connection.execute("SELECT topic, payload FROM rule_alarms WHERE topic = %s", (SLOW,)).fetchone()
            return found is not None and alarm.decode(*found).record.active
        return None


def journal(database: str) -> dict[str, list[str]]:
    """The events of each alarm, in the order of their times."""
    found: dict[str, list[str]] = {FAST: [], SLOW: []}
    with psycopg.connect(as_role(database, "nexus_reader")) as connection:
        for topic, event in connection.execute("SELECT topic, event FROM alarm_events ORDER BY time"):
            found[topic].append(event)
    return found


def state(database: str, path: str) -> RuleState:
    with psycopg.connect(database) as connection:
        [(found,)] = connection.execute("SELECT state FROM rule_states WHERE path = %s", (path,)).fetchall()
    return decode_state(found)


@pytest.mark.timeout(lasting(400, 7200))
@pytest.mark.parametrize("receipts", ["auto", "ingestion"])
def test_journal_and_totals_are_those_of_the_inputs(
    tmp_path: Path, nexus: Start, persistent_mosquitto: Mosquitto, postgres: Postgres, receipts: str
) -> None:
    file, broker = tmp_path / "rules.yaml", persistent_mosquitto
    file.write_text(RULES)
    ingester = nexus(
        "ingest", mqtt_url=broker.url, database_url=as_role(postgres.url, "nexus_writer"), batch_seconds="0.2"
    ).until_ready()
    rules = nexus(
        "rules",
        rules=str(file),
        rules_lateness="10m",
        receipts=receipts,
        mqtt_url=broker.url,
        database_url=as_role(postgres.url, "nexus_rules"),
    ).until_ready()
    until(lambda: rules.metric("nexus_rules_broker_connected") == 1, "the rules have subscribed")
    plant = Plant(broker.port, postgres.url)
    # The broker may save its sessions: what it has acknowledged is kept by nobody else.
    with Deaths(broker, rules, ingester, postgres, seed=3, broker_signal=signal.SIGTERM) as deaths:
        while deaths.rounds < DEATHS or len(plant.truth[SLOW]) < SLOW_FLIPS:
            plant.flip_fast()
            plant.flip_slow()
            time.sleep(PAUSE)
    plant.say("plc2", "rate", RATE)
    end = plant.last
    until(lambda: state(postgres.url, "plant/energy").inputs["rate"][0] == end, "the last input is evaluated", 60)
    with suppress(AssertionError):
        until(lambda: journal(postgres.url) == plant.truth, "the journal is whole", lasting(60, 300))
    assert journal(postgres.url) == plant.truth
    total = state(postgres.url, "plant/energy").totals["total"]
    assert total.value == pytest.approx(RATE * (total.time - plant.began) / 1000, rel=1e-6)
    assert state(postgres.url, "plant/fast").totals["rises"].value == plant.truth[FAST].count("raised")
    with psycopg.connect(postgres.url) as connection:
        until(lambda: connection.execute("SELECT count(*) FROM rule_outbox").fetchone() == (0,), "all has arrived", 60)
        offered = connection.execute("SELECT offered FROM rule_publishers").fetchall()
    assert offered == [(receipts == "auto",)]
