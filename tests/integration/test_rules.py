"""Rules across devices: with production's roles and ACL, processes that are killed, and a database that is away."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingestion.rules import outbox
from ingestion.rules.requests import EXPIRED
from nexus.contract.codec import encode_device, encode_tag
from nexus.contract.reading import Quality, Reading, Value
from tests.asker import Asker
from tests.conftest import TIERS, Production
from tests.integration.test_writer import query
from tests.parts import Mosquitto, Nexus, Postgres, publish, secret, until

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
STATUS = "status/plant/line1/rules"


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def group() -> str:
    """Of a test alone: a broker that outlives it keeps the session of its name."""
    return f"rules-{uuid4().hex[:8]}"


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


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_derived_tag_across_devices_is_stored_and_its_alarm_is_raised_acknowledged_and_cleared(
    nexus: Start, group: str, production: Production, file: Path
) -> None:
    url = production.broker.url
    ingest = nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=url, database_url=production.owner).until_ready()
    active(rules)
    with Asker(production.mqtt("operator"), "alarm/#", "status/#", "answer/asker") as operator:
        began = now_ms()
        say(production.broker.port, "plc001", (began, 300.0))
        newest = now_ms()
        say(production.broker.port, "plc002", (newest, 280.0))
        until(lambda: stored(production), "the sum is stored")
        assert stored(production) == [(580.0, 192, "kW")]
        [raised] = until(
            lambda: [one for one in operator.on(HIGH) if one["ts"] == newest],
            "it is raised, by the newest input's time",
        )
        assert (raised["event"], raised["value"], raised["limit"], raised["unit"]) == ("raised", 580.0, 500.0, "kW")
        answer = operator.ask(HIGH.replace("alarm/", "ack/"), {"action": "acknowledge", "reason": "seen"}, by="anna")
        assert (answer["ok"], answer["state"]) == (True, "acknowledged")
        refused = operator.ask(HIGH.replace("alarm/", "ack/"), {"action": "acknowledge"}, by="anna")
        assert refused == {"ok": False, "error": "there is nothing to acknowledge"}
        device = encode_device([Reading("power", now_ms(), 100.0), Reading("other", now_ms(), 1.0)], now_ms())
        publish(production.broker.port, "dev/plant/line1/plc001", device)
        until(lambda: [one for one in operator.on(IMBALANCE) if one["ts"] > newest], "the loads are uneven")
        until(lambda: journal(production.owner, HIGH) == ["raised", "acknowledged", "cleared"], "the journal is whole")
        assert operator.on("status/plant/line1/rules")[-1]["state"] == "online"
        with Asker(production.mqtt("console"), "device/#") as console:
            until(lambda: console.on("device/plant/line1/rules"), "it says what it is")
            [total] = console.on("device/plant/line1/rules")[-1]["tags"]
            assert total["alarms"] == [{"name": "high", "limit": 500.0}]
        assert json.loads(rules.get("/health")[1])["problems"] == [], "and does not take itself for a device"
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


FLIPS = 2_000


def test_a_kill_of_the_active_one_amid_flips_loses_and_doubles_no_event(
    nexus: Start, group: str, production: Production, file: Path
) -> None:
    """Each of 2,000 readings raises or clears: the journal has exactly that, although the active one is killed twice."""
    url, port = production.broker.url, production.broker.port
    ingest = nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
    both = [nexus("rules", group=group, rules=str(file), mqtt_url=url, database_url=production.owner) for _ in range(2)]
    for one in both:
        one.until_ready()
    first = active(*both)
    began = now_ms()
    until(lambda: now_ms() > began + FLIPS, "a millisecond for each of them has passed since the rules began")
    say(port, "plc002", (began, 0.0))
    flips = [(began + n, 1_000.0 if n % 2 else 0.0) for n in range(1, FLIPS + 1)]
    say(port, "plc001", *flips[:900])
    until(lambda: first.metric("nexus_rules_inputs_total") > 100, "it is in the middle of them")
    first.process.kill()
    first.process.wait()
    say(port, "plc001", *flips[900:1500])
    second = active(*both)
    assert second is not first
    first.restart()
    first.until_ready()
    say(port, "plc001", *flips[1500:])
    until(lambda: second.metric("nexus_rules_inputs_total") > 100, "so is the other one")
    second.process.kill()
    second.process.wait()
    expected = [("raised", began + n) if n % 2 else ("cleared", began + n) for n in range(1, FLIPS + 1)]

    def found() -> list[tuple[str, int]]:
        rows = query(
            production.owner,
            "SELECT event, (extract(epoch FROM time) * 1000)::bigint FROM alarm_events"
            f" WHERE topic = '{HIGH}' ORDER BY time",
        )
        # A broker that outlives its tests brings the ingester what others left in its session.
        return [(event, int(at)) for event, at in rows if at >= began]

    until(lambda: len(found()) >= FLIPS, f"all events are stored, {len(found())} of {FLIPS}", 60)
    assert found() == expected
    until(lambda: query(production.owner, "SELECT count(*) FROM rule_outbox") == [(0,)], "nothing is left to say")
    assert found() == expected, "what was said again is stored once"
    values = query(production.owner, f"SELECT count(*), count(DISTINCT time) FROM metrics WHERE topic = '{TOTAL}'")
    assert values == [(FLIPS, FLIPS)]
    assert ingest.metric("nexus_ingestion_conflicts_total") == 0


def test_another_takes_over_from_one_that_hangs_and_wakes_up_again(
    nexus: Start, group: str, production: Production, file: Path
) -> None:
    url, port = production.broker.url, production.broker.port
    nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
    both = [nexus("rules", group=group, rules=str(file), mqtt_url=url, database_url=production.owner) for _ in range(2)]
    for one in both:
        one.until_ready()
    hung = active(*both)
    [other] = [one for one in both if one is not hung]
    began = now_ms()
    say(port, "plc002", (began, 0.0))
    say(port, "plc001", (began, 1_000.0))
    until(lambda: journal(production.owner, HIGH) == ["raised"], "it is raised")
    hung.process.send_signal(signal.SIGSTOP)
    try:
        say(port, "plc001", (began + 100, 0.0), (began + 200, 1_000.0))
        until(lambda: is_active(other), "the other one is active", 60)
        until(lambda: len(journal(production.owner, HIGH)) == 3, "it has evaluated what came meanwhile")
        say(port, "plc001", (began + 300, 0.0))
        until(lambda: journal(production.owner, HIGH)[-1] == "cleared", "and what came then")
    finally:
        hung.process.send_signal(signal.SIGCONT)
    until(lambda: hung.metric("nexus_rules_active") == 0, "the one that hung knows that it is not")
    say(port, "plc001", (began + 400, 1_000.0))
    until(lambda: len(journal(production.owner, HIGH)) == 5, "the other one goes on")
    assert journal(production.owner, HIGH) == ["raised", "cleared", "raised", "cleared", "raised"]
    with Asker(production.mqtt("operator"), "alarm/#") as operator:
        until(lambda: operator.on(HIGH), "the alarm is retained")
        assert operator.on(HIGH)[-1]["ts"] == began + 400
    assert is_active(other)
    assert hung.metric("nexus_rules_broker_connected") == 0


def test_a_database_that_is_away_costs_nothing(
    nexus: Start, group: str, postgres: Postgres, mosquitto: Callable[..., Mosquitto], file: Path
) -> None:
    """What comes meanwhile stays with the broker, and is evaluated by its own times."""
    broker = mosquitto()
    nexus("ingest", mqtt_url=broker.url, database_url=postgres.url).until_ready()
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=broker.url, database_url=postgres.url).until_ready()
    active(rules)
    began = now_ms()
    say(broker.port, "plc001", (began, 300.0))
    say(broker.port, "plc002", (began, 300.0))
    until(lambda: journal(postgres.url, HIGH) == ["raised"], "it is raised")
    postgres.stop("immediate")
    until(lambda: rules.get("/ready")[0] == 503, "it says that the database is away")
    say(broker.port, "plc001", (began + 100, 100.0), (began + 200, 300.0), (began + 300, 50.0))
    postgres.start()
    until(lambda: journal(postgres.url, HIGH) == ["raised", "cleared", "raised", "cleared"], "nothing is missing", 60)
    times = query(
        postgres.url,
        f"SELECT (extract(epoch FROM time) * 1000)::bigint FROM alarm_events WHERE topic = '{HIGH}' ORDER BY time",
    )
    assert [int(at) - began for (at,) in times] == [0, 100, 200, 300]


def test_what_is_not_committed_yet_is_not_said_to_a_broker_that_comes_back(
    nexus: Start, group: str, production: Production, file: Path
) -> None:
    url, port = production.broker.url, production.broker.port
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=url, database_url=production.owner)
    active(rules)
    with Asker(production.mqtt("operator"), "alarm/#") as operator, psycopg.connect(production.owner) as other:
        say(port, "plc001", (now_ms(), 300.0))
        say(port, "plc002", (now_ms(), 290.0))
        until(lambda: operator.on(HIGH), "it is raised")
        until(lambda: rules.metric("nexus_rules_outbox_messages") == 0, "it has been said")
        other.execute("LOCK TABLE rule_alarms IN ACCESS EXCLUSIVE MODE")
        operator.tell(HIGH.replace("alarm/", "ack/"), {"action": "acknowledge"}, by="anna")
        until(lambda: rules.metric("nexus_rules_alarm_requests_total") == 1, "it is evaluated")
        rival = paho.Client(CallbackAPIVersion.VERSION2, client_id=group, protocol=paho.MQTTv5)
        rival.username_pw_set("rules", secret("rules"))
        rival.connect("127.0.0.1", port, clean_start=False)  # the broker ends the connection of the rules
        rival.loop_start()
        until(lambda: rules.metric("nexus_rules_broker_connected") == 0, "it is away")
        rival.disconnect()
        rival.loop_stop()
        until(lambda: len(operator.on(HIGH)) > 1, "it says again how the alarm stands")
        assert {word["event"] for word in operator.on(HIGH)} == {"raised"}
        other.rollback()
        until(lambda: operator.on(HIGH)[-1]["event"] == "acknowledged", "once it is committed")


def test_a_timer_ends_without_an_input(nexus: Start, group: str, production: Production, tmp_path: Path) -> None:
    file = tmp_path / "timers.yaml"
    file.write_text(
        "rules: [{name: t, path: plant/t, inputs: {a: {topic: plant/line1/plc001/power, stale: 2s}},"
        " tags: [{name: same, expression: a, alarms: [{name: gone, bad: true}]}],"
        " alarms: [{name: long, when: a > 1, on_delay: 1s}]}]"
    )
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=production.broker.url, database_url=production.owner)
    active(rules)
    with Asker(production.mqtt("operator"), "alarm/#") as operator:
        began = now_ms()
        say(production.broker.port, "plc001", (began, 5.0))
        until(lambda: operator.on("alarm/plant/t/same/gone"), "the input is silent")
        [long] = operator.on("alarm/plant/t/long")
        [gone] = operator.on("alarm/plant/t/same/gone")
    assert [one["ts"] - began for one in (long, gone)] == [1_000, 2_000]


def test_late_inputs_are_ignored_and_counted(nexus: Start, group: str, production: Production, file: Path) -> None:
    url, port = production.broker.url, production.broker.port
    rules = nexus(
        "rules", group=group, rules=str(file), rules_lateness="10s", mqtt_url=url, database_url=production.owner
    )
    active(rules)
    with Asker(production.mqtt("viewer"), "dev/plant/line1/rules/#") as viewer:
        now = now_ms()
        say(port, "plc001", (now - 1_000, 1.0), (now, 2.0), (now - 500, 3.0))
        say(port, "plc002", (now - 20_000, 4.0), (now - 5_000, 5.0))
        until(lambda: viewer.on(TOTAL), "a sum")
        until(lambda: rules.metric("nexus_rules_inputs_total") == 5, "all have come")
        assert viewer.values(TOTAL) == [7.0]
    reasons = dict(line.rsplit(" ", 1) for line in rules.get("/metrics")[1].splitlines() if "ignored_total{" in line)
    assert {name: float(count) for name, count in reasons.items() if float(count)} == {
        'nexus_rules_inputs_ignored_total{reason="older"}': 1,
        'nexus_rules_inputs_ignored_total{reason="late"}': 1,
    }


def test_inputs_of_a_clock_that_is_ahead_are_told(nexus: Start, group: str, production: Production, file: Path) -> None:
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=production.broker.url, database_url=production.owner)
    active(rules)
    say(production.broker.port, "plc001", (now_ms() + 600_000, 1.0))
    until(lambda: json.loads(rules.get("/health")[1])["problems"], "it says so")
    [problem] = json.loads(rules.get("/health")[1])["problems"]
    assert problem.startswith("rule line1: input a is ignored, its last value is ")
    say(production.broker.port, "plc001", (now_ms(), 1.0))
    until(lambda: not json.loads(rules.get("/health")[1])["problems"], "and that it is over")


def test_an_offer_of_receipts_is_remembered_over_the_end_of_all(
    nexus: Start, group: str, postgres: Postgres, mosquitto: Callable[..., Mosquitto], file: Path
) -> None:
    """Ingester, rules and a broker that keeps nothing are killed, and the rules are the first to be back."""
    broker = mosquitto()
    ingest = nexus("ingest", mqtt_url=broker.url, database_url=postgres.url).until_ready()
    rules = nexus("rules", group=group, rules=str(file), mqtt_url=broker.url, database_url=postgres.url)
    active(rules)
    began = now_ms()
    say(broker.port, "plc001", (began, 300.0))
    say(broker.port, "plc002", (began, 300.0))
    until(lambda: journal(postgres.url, HIGH) == ["raised"], "it is raised")
    until(lambda: query(postgres.url, "SELECT offered FROM rule_publishers") == [(True,)], "the offer is noted")
    ingest.stop(signal.SIGKILL)
    say(broker.port, "plc001", (began + 100, 100.0), (began + 200, 300.0))
    until(lambda: rules.metric("nexus_rules_outbox_messages") >= 4, "what follows has no receipt")
    rules.stop(signal.SIGKILL)
    broker.stop(signal.SIGKILL)
    broker.start()
    rules.restart()
    active(rules)
    until(lambda: rules.metric("nexus_rules_messages_total") >= 4, "the broker has all of it")
    say(broker.port, "plc001", (began + 300, 50.0))
    until(lambda: rules.metric("nexus_rules_outbox_messages") >= 6, "and none of it is taken for arrived")
    ingest.restart()
    until(lambda: journal(postgres.url, HIGH) == ["raised", "cleared", "raised", "cleared"], "nothing is missing", 60)


def test_a_full_outbox_stops_evaluation_which_is_told_until_an_ingester_is_back(
    nexus: Start, group: str, production: Production, file: Path
) -> None:
    """It is alarmed on by the number of messages; requests are answered, and not done."""
    _fill_outbox(production.owner, group)
    url = production.broker.url
    rules = nexus(
        "rules", group=group, rules=str(file), receipts="ingestion", mqtt_url=url, database_url=production.owner
    )
    active(rules)
    stands_still = "evaluation stands still: 100,000 messages have no receipt from an ingester"
    assert json.loads(rules.get("/health")[1])["problems"] == [stands_still]
    assert rules.metric("nexus_rules_outbox_messages") == outbox.MOST
    with Asker(production.mqtt("operator"), "status/#", "answer/#") as operator:
        until(lambda: operator.on(STATUS), "the rule's status")
        assert operator.on(STATUS)[-1]["state"] == "degraded"
        assert operator.on(STATUS)[-1]["reason"] == stands_still
        answer = operator.ask(IMBALANCE.replace("alarm/", "ack/"), {"action": "acknowledge"}, by="anna")
        assert answer == {"ok": False, "error": EXPIRED}
        say(production.broker.port, "plc001", (now_ms(), 300.0))
        say(production.broker.port, "plc002", (now_ms(), 300.0))
        until(lambda: rules.metric("nexus_rules_waiting_messages") == 2, "inputs wait")
        nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner).until_ready()
        until(lambda: journal(production.owner, HIGH) == ["raised"], "they are evaluated", 120)
        assert json.loads(rules.get("/health")[1])["problems"] == []
        until(lambda: operator.on(STATUS)[-1]["state"] == "online", "the status is told again", 60)


def _fill_outbox(owner: str, group: str) -> None:
    publisher, began = "0f" * 16, now_ms() - outbox.MOST
    with psycopg.connect(owner) as connection:
        connection.execute("INSERT INTO rule_publishers VALUES (%s, %s, %s)", (group, publisher, outbox.MOST))
        rows = connection.cursor().copy("COPY rule_outbox (rule_group, number, topic, payload, retain) FROM STDIN")
        with rows as copy:
            for number in range(1, outbox.MOST + 1):
                payload = encode_tag(Reading("total_power", began + number, 1.0), None, publisher, number)
                copy.write_row((group, number, TOTAL, payload, False))


def test_a_broken_file_and_a_changed_one_are_told(nexus: Start, group: str, production: Production, file: Path) -> None:
    broken = file.with_name("broken.yaml")
    broken.write_text(RULES.replace("a + b", "a + c"))
    one = nexus("rules", group=group, rules=str(broken), mqtt_url=production.broker.url, database_url=production.owner)
    assert one.process.wait(60) == 2
    assert "there is no tag 'c' here" in one.log.read_text()
    good = nexus("rules", group=group, rules=str(file), mqtt_url=production.broker.url, database_url=production.owner)
    active(good)
    file.write_text(RULES + "\n")
    problems = until(lambda: json.loads(good.get("/health")[1])["problems"], "it says that the file has changed")
    assert problems == [f"{file} has changed: restart `nexus rules` to use it"]
    assert good.stop(signal.SIGTERM) == 0
