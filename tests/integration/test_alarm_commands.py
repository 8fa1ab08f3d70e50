"""`nexus alarms`: what an operator at a terminal sees of alarms, and does about them, by production's users."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Production
from tests.integration.test_alarms import Plant
from tests.integration.test_historian_tools import run
from tests.integration.test_writer import query
from tests.parts import Nexus, until

Start = Callable[..., Nexus]
HIGH = "plant/plc/temperature/high"


class Terminal:
    """Runs commands as the user operator, with a reader's login to the database."""

    def __init__(self, production: Production) -> None:
        self._production = production

    def run(self, *arguments: str, code: int = 0, user: str = "operator") -> str:
        """What it prints, on either stream."""
        done = run(self._production.reader, "alarms", *arguments, mqtt_url=self._production.mqtt(user))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def terminal(production: Production) -> Terminal:
    return Terminal(production)


@pytest.fixture
def plant(tmp_path: Path, nexus: Start, production: Production) -> Plant:
    nexus(
        "ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.writer, batch_seconds="0.1"
    ).until_ready()
    plant = Plant(tmp_path, nexus, production.broker)
    plant.gateway(receipts="ingestion")
    return plant


def test_an_alarm_is_listed_acknowledged_shelved_and_in_the_journal(
    plant: Plant, terminal: Terminal, production: Production
) -> None:
    assert terminal.run("list") == "no alarms\n"
    plant.temperature(85)
    plant.until_state("unacknowledged")
    shown = terminal.run("list")
    assert "high      unacknowledged  plant/plc/temperature/high  85 °C (limit 80)  Bearing hot" in shown
    assert "1 alarm, 1 to be acknowledged" in shown

    assert terminal.run("ack", HIGH, "--by", "anna", "--reason", "on my way") == f"{HIGH}: acknowledged\n"
    assert f"{HIGH}: " in terminal.run("ack", f"alarm/{HIGH}", "--by", "anna", code=1), "there is nothing left to do"
    assert "plant/plc/none: " in terminal.run("ack", "plant/plc/none", HIGH, "--by", "anna", code=1)

    assert terminal.run("shelve", HIGH, "--for", "8h", "--by", "anna") == f"{HIGH}: shelved\n"
    assert terminal.run("list") == "no alarms\n"
    assert "shelved until 20" in terminal.run("list", "--all", "--device", "plant/plc")
    assert "the nearest that have alarms are plant/plc" in terminal.run("list", "--device", "plc", code=2)
    assert terminal.run("unshelve", HIGH, "--by", "anna") == f"{HIGH}: acknowledged\n"
    assert terminal.run("comment", HIGH, "--by", "anna", "--reason", "bearing ordered") == f"{HIGH}: acknowledged\n"

    until(lambda: query(production.owner, "SELECT count(*) FROM alarm_events") == [(5,)], "all is stored")
    journal = terminal.run("journal", HIGH)
    events = [line.split()[2] for line in journal.splitlines()[1:]]
    assert events == ["raised", "acknowledged", "shelved", "unshelved", "comment"]
    assert "anna  on my way" in journal
    assert len(terminal.run("journal", "plant", "--limit", "2").splitlines()) == 3
    assert terminal.run("journal", "plant/pl") == "no events\n"
    [live] = map(json.loads, terminal.run("list", "--json").splitlines())
    [stored] = map(json.loads, terminal.run("list", "--stored", "--json").splitlines())
    assert live == stored
    assert terminal.run("list", "--stored", "--device", "plant/plc") == terminal.run("list", "--stored")
    assert "are plant/plc" in terminal.run("list", "--stored", "--device", "plant/other", code=2)
    plant.temperature(50)
    plant.until_state("normal")
    assert terminal.run("list", "--device", "plant/plc") == "no alarms\n"
    until(lambda: query(production.owner, "SELECT count(*) FROM alarms_now") == [(0,)], "that it is over is stored")
    assert terminal.run("list", "--stored", "--device", "plant/plc") == "no alarms\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shelve", HIGH, "--for", "8 days", "--by", "anna"), "is not a duration"),
        (("shelve", HIGH, "--for", "8d", "--by", "anna"), "seconds"),
        (("ack", "plant/#", "--by", "anna"), "is not an alarm"),
        (("ack", HIGH, "--by", "a" * 300), "by"),
        (("ack", HIGH, "--by", "anna", "--reason", "a\nb"), "cannot be printed"),
        (("journal", "--from", "yesterday"), "is not a time"),
    ],
)
def test_bad_usage_is_said_and_asks_nobody(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    assert said in terminal.run(*arguments, code=2)


def test_what_nobody_answers_is_said(terminal: Terminal, production: Production) -> None:
    assert "no gateway" in terminal.run("ack", HIGH, "--by", "anna", code=1)
    assert "broker" in terminal.run("ack", HIGH, "--by", "anna", user="viewer", code=1)
    production.broker.stop()
    assert "NEXUS_MQTT_URL: mqtt://127.0.0.1" in terminal.run("list", code=1)
