"""Rules across devices: with production's roles and ACL, processes that are killed, and a database that is away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus.contract.codec import encode_device, encode_tag
from nexus.contract.reading import Quality, Reading, Value
from tests.asker import Asker
from tests.conftest import Production
from tests.integration.test_writer import query
from tests.parts import Nexus, publish, until

Start = Callable[..., Nexus]

RULES = """
rules:
  - name: line1
    path: plant/line1/rules
    inputs:
      a: plant/line1/plc001/power
      b: plant/line1/plc002/power
    tags:
      - {name: total_power, expression: "a + b", unit: kW, alarms: [{name: high, above: 500}]}
    alarms:
      - {name: imbalance, when: "abs(a - b) > 50", priority: high, text: Load is uneven}
"""
HIGH = "alarm/plant/line1/rules/total_power/high"
IMBALANCE = "alarm/plant/line1/rules/imbalance"
TOTAL = "dev/plant/line1/rules/total_power"


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rules.yaml"
    found.write_text(RULES)
    return found


def say(port: int, device: str, *samples: tuple[int, Value], quality: int = Quality.GOOD) -> None:
    """What a device's power is, at these times."""
    payloads = [encode_tag(Reading("power", at, value, quality), "kW") for at, value in samples]
    publish(port, f"dev/plant/line1/{device}/power", *payloads)


def active(*processes: Nexus) -> Nexus:
    """The one that evaluates."""
    [found] = until(lambda: [one for one in processes if is_active(one)], "one of them is active and subscribed")
    return found


def is_active(one: Nexus) -> bool:
    return one.process.poll() is None and one.metric("nexus_rules_active") == 1 and one.get("/ready")[0] == 200


def stored(production: Production) -> list[Any]:
    found = query(production.owner, f"SELECT value, quality, unit FROM metrics WHERE topic = '{TOTAL}' ORDER BY time")
    return list(found)


def journal(owner: str, topic: str) -> list[str]:
    return [event for (event,) in query(owner, f"SELECT event FROM alarm_events WHERE topic = '{topic}' ORDER BY time")]


def test_a_derived_tag_across_devices_is_stored_and_its_alarm_is_raised_acknowledged_and_cleared(
    nexus: Start, production: Production, file: Path
) -> None:
    url = production.broker.url
    ingest = nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
    rules = nexus("rules", rules=str(file), mqtt_url=url, database_url=production.owner).until_ready()
    active(rules)
    with Asker(production.mqtt("operator"), "alarm/#", "status/#", "answer/asker") as operator:
        began = now_ms()
        say(production.broker.port, "plc001", (began, 300.0))
        say(production.broker.port, "plc002", (began + 10, 280.0))
        until(lambda: stored(production), "the sum is stored")
        assert stored(production) == [(580.0, 192, "kW")]
        until(lambda: operator.on(HIGH), "the alarm is raised")
        [raised] = operator.on(HIGH)
        assert (raised["event"], raised["value"], raised["limit"], raised["unit"]) == ("raised", 580.0, 500.0, "kW")
        assert raised["ts"] == began + 10, "by the time of the newest input"
        answer = operator.ask(HIGH.replace("alarm/", "ack/"), {"action": "acknowledge", "reason": "seen"}, by="anna")
        assert (answer["ok"], answer["state"]) == (True, "acknowledged")
        refused = operator.ask(HIGH.replace("alarm/", "ack/"), {"action": "acknowledge"}, by="anna")
        assert refused == {"ok": False, "error": "there is nothing to acknowledge"}
        device = encode_device([Reading("power", now_ms(), 100.0), Reading("other", now_ms(), 1.0)], now_ms())
        publish(production.broker.port, "dev/plant/line1/plc001", device)
        until(lambda: len(operator.on(IMBALANCE)) == 1, "the loads are uneven")
        until(lambda: journal(production.owner, HIGH) == ["raised", "acknowledged", "cleared"], "the journal is whole")
        assert operator.on("status/plant/line1/rules")[-1]["state"] == "online"
        audit = query(production.owner, "SELECT topic, event, by, ok FROM audit ORDER BY time")
        assert audit == [
            ("audit/plant/line1/rules/total_power", "alarm acknowledge", "anna", True),
            ("audit/plant/line1/rules/total_power", "alarm acknowledge", "anna", False),
        ]
        until(lambda: rules.metric("nexus_rules_outbox_messages") == 0, "receipts for all of it")
        until(lambda: query(production.owner, "SELECT count(*) FROM rule_outbox") == [(0,)], "and nothing is kept")
        assert rules.stop() == 0
        until(lambda: operator.on("status/plant/line1/rules")[-1]["state"] == "offline", "it says that it stops")
    assert ingest.stop() == 0
