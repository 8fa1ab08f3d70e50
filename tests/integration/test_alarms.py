"""Alarms of gateways as processes: with a broker that goes, gateways that are killed, and messages that are forged."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage, Record
from tests.asker import Asker
from tests.modbus_writer import ModbusWriter
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]

HIGH, ACK = "alarm/plant/plc/temperature/high", "ack/plant/plc/temperature/high"
LOST = "alarm/plant/plc/lost"
SIMULATED = """
devices:
  - {name: plc, protocol: modbus-tcp, port: %d, unit: 1, points: [
      {table: holding, offset: 0, type: uint16, signal: {kind: constant, value: 20}}]}
"""
DEVICES = """
devices:
  - name: plc
    path: plant/plc
    protocol: modbus-tcp
    host: 127.0.0.1
    port: %d
    interval: 100ms
    timeout: 500ms
    breaker: {failures: 2, open_for: 200ms, max_open_for: 500ms}
    alarms: [{name: lost, lost: true}]
    tags:
      - name: temperature
        address: "holding:40001:uint16"
        unit: "°C"
        on_change: true
        alarms: [%s]
"""
ALARM = '{name: high, above: 80, deadband: 2, priority: high, text: "Bearing hot"}'


class Plant:
    """A simulated device with an alarm, and a broker."""

    def __init__(self, folder: Path, nexus: Start, broker: Mosquitto) -> None:
        self.port = free_port()
        self.broker, self._nexus = broker, nexus
        simulation = folder / "plant.yaml"
        simulation.write_text(SIMULATED % self.port)
        self.files = folder / "devices.yaml"
        self.write(ALARM)
        self.simulator = nexus("simulate", str(simulation)).until_ready()

    def temperature(self, value: int) -> None:
        ModbusWriter(self.port).set(0, value)

    def write(self, alarms: str) -> None:
        self.files.write_text(DEVICES % (self.port, alarms))

    def gateway(self, **keys: str) -> Nexus:
        return self._nexus("gateway", "--devices", str(self.files), mqtt_url=self.broker.url, **keys).until_ready()

    def retained(self, topic: str = HIGH) -> dict[str, Any] | None:
        """What the broker retains now."""
        with Asker(self.broker.mqtt("viewer"), topic) as asker:
            until(lambda: asker.heard or self._is_silent(), "an answer")
            payload = asker.heard[0].payload if asker.heard else b""
        return json.loads(payload) if payload else None

    def _is_silent(self) -> bool:
        time.sleep(0.3)
        return True

    def until_state(self, state: str, topic: str = HIGH) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.retained(topic)
            return found if found is not None and found["state"] == state else None

        return until(there, f"{topic} is {state}") or {}


@pytest.fixture
def plant(tmp_path: Path, nexus: Start, mosquitto: Callable[..., Mosquitto]) -> Plant:
    return Plant(tmp_path, nexus, mosquitto())


def test_an_alarm_is_raised_acknowledged_and_over(plant: Plant) -> None:
    gateway = plant.gateway()
    with Asker(plant.broker.mqtt("operator"), "alarm/#", "answer/#") as anna:
        plant.temperature(85)
        message = until(lambda: anna.on(HIGH), "it is raised")[0]
        assert {key: message[key] for key in ("state", "event", "value", "limit", "text", "priority", "unit")} == {
            "state": "unacknowledged",
            "event": "raised",
            "value": 85,
            "limit": 80.0,
            "text": "Bearing hot",
            "priority": "high",
            "unit": "°C",
        }
        assert anna.ask(ACK, {"action": "acknowledge"})["error"].startswith("who asks?")
        old = {"action": "acknowledge", "by": "anna", "occurrence": message["occurrence"] - 1}
        assert not anna.ask(ACK, old)["ok"]
        assert not anna.ask(ACK.replace("high", "none"), {"action": "comment", "by": "anna"})["ok"]
        anna.tell(ACK, {"action": "acknowledge", "by": "anna"}, retain=True)
        anna.tell(ACK, b"", retain=True)
        answer = anna.ask(ACK, {"action": "acknowledge", "reason": "on my way"}, by="anna")
        assert (answer["ok"], answer["state"]) == (True, "acknowledged")
        plant.temperature(79)  # within the deadband
        plant.temperature(70)
        until(lambda: len(anna.on(HIGH)) == 3, "it is over")
        states = [(one["event"], one["state"], one.get("by")) for one in anna.on(HIGH)]
        assert states[1:] == [("acknowledged", "acknowledged", "anna"), ("cleared", "normal", None)]
        assert {one["occurrence"] for one in anna.on(HIGH)} == {message["occurrence"]}
    assert gateway.metric("nexus_gateway_alarms_raised_total") == 1
    assert gateway.metric("nexus_gateway_alarm_requests_total") == 5
    assert gateway.stop() == 0


def test_what_is_raised_while_the_broker_is_away_arrives_with_its_times(plant: Plant) -> None:
    gateway = plant.gateway()
    plant.temperature(85)
    first = plant.until_state("unacknowledged")
    plant.broker.stop()
    until(lambda: gateway.metric("nexus_gateway_broker_connected") == 0, "it is away")
    gone = int(time.time() * 1000)
    plant.temperature(20)
    time.sleep(0.5)
    plant.temperature(90)
    until(lambda: gateway.metric("nexus_gateway_alarms_raised_total") == 2, "raised without a broker")
    back = int(time.time() * 1000)
    plant.broker.start()
    with Asker(plant.broker.mqtt("viewer"), "alarm/#") as asker:
        until(lambda: {"cleared", "raised"} <= {one["event"] for one in asker.on(HIGH)}, "both arrive", 40)
        until(lambda: any(one.retained or one.content["event"] == "raised" for one in asker.heard), "the present one")
        messages = {(one["event"], one["occurrence"]): one for one in asker.on(HIGH)}
    cleared = messages["cleared", first["occurrence"]]
    [again] = [one for (event, _), one in messages.items() if event == "raised" and one["ts"] > first["ts"]]
    assert gone <= cleared["ts"] <= again["ts"] <= back
    assert plant.until_state("unacknowledged")["ts"] == again["ts"]
    assert gateway.stop() == 0


def test_a_killed_gateway_neither_raises_again_nor_forgets(plant: Plant) -> None:
    gateway = plant.gateway()
    with Asker(plant.broker.mqtt("operator"), "alarm/#", "answer/#") as anna:
        plant.temperature(85)
        until(lambda: anna.on(HIGH), "it is raised")
        assert anna.ask(ACK, {"action": "shelve", "by": "anna", "seconds": 3600})["state"] == "shelved"
        gateway.stop(signal.SIGKILL)
        gateway.restart()
        gateway.until_ready()
        taken = gateway.metric("nexus_gateway_readings_total")
        until(lambda: gateway.metric("nexus_gateway_readings_total") > taken + 5, "it polls")
        assert anna.ask(ACK, {"action": "unshelve", "by": "anna"})["state"] == "unacknowledged"
        gateway.stop(signal.SIGKILL)
        plant.temperature(20)
        gateway.restart()
        until(lambda: anna.on(HIGH)[-1]["state"] == "returned", "what changed meanwhile is found")
        assert len({one["occurrence"] for one in anna.on(HIGH)}) == 1
        assert [one["event"] for one in anna.on(HIGH)].count("raised") == 1
    assert gateway.stop() == 0


def test_a_lost_device_is_an_alarm_of_its_own(plant: Plant) -> None:
    gateway = plant.gateway()
    plant.temperature(85)
    plant.until_state("unacknowledged")
    plant.simulator.stop(signal.SIGKILL)
    plant.until_state("unacknowledged", LOST)
    plant.until_state("suppressed")
    plant.simulator.restart()
    plant.until_state("returned", LOST)
    assert gateway.stop() == 0


def test_a_device_that_moves_takes_its_alarms_along(plant: Plant) -> None:
    keys = {"group": "g", "lease": "2s"}
    one = plant.gateway(**keys, member="a")
    plant.temperature(85)
    before = plant.until_state("unacknowledged")
    with Asker(plant.broker.mqtt("operator"), "alarm/#", "answer/#") as anna:
        other = plant.gateway(**keys, member="b")

        def polls(gateway: Nexus) -> bool:
            return gateway.metric("nexus_gateway_devices_polled") == 1

        until(lambda: polls(one) != polls(other), "one polls")
        owner, relief = (one, other) if polls(one) else (other, one)
        owner.stop(signal.SIGKILL)
        until(lambda: polls(relief), "the other takes over", 40)
        taken = relief.metric("nexus_gateway_readings_total")
        until(lambda: relief.metric("nexus_gateway_readings_total") > taken + 20, "it polls")
        owner.restart()
        owner.until_ready()
        until(lambda: polls(one) != polls(other), "one polls")
        # Whoever has just taken a device over first reads how its alarms are, and says so.
        until(lambda: anna.ask(ACK, {"action": "acknowledge", "by": "anna"})["ok"], "it is acknowledged")
        assert {message["occurrence"] for message in anna.on(HIGH)} == {before["occurrence"]}
        plant.temperature(20)
        until(lambda: anna.on(HIGH)[-1]["state"] == "normal", "it is over")
    for gateway in (one, other):
        assert gateway.stop() == 0


def test_forged_messages_are_overwritten_by_the_owners_record(plant: Plant) -> None:
    gateway = plant.gateway()
    plant.temperature(85)
    raised = plant.until_state("unacknowledged")
    assert gateway.stop() == 0
    now = int(time.time() * 1000)
    forged = Record("shelved", now, now, now, until=now + 10**7)
    about = (("temperature", "high"), ("temperature", "old"), ("", "lost"))
    for tag, name in about:
        message = AlarmMessage("plant/plc", tag, name, forged, "shelved")
        publish_retained(plant.broker, message.topic, alarm.encode(message))
    gateway.restart()
    gateway.until_ready()
    until(lambda: plant.retained() == raised, "the owner's message is back")
    until(lambda: plant.retained(LOST) is None and plant.retained(HIGH.replace("high", "old")) is None, "cleared")
    assert gateway.metric("nexus_gateway_alarm_words_ignored_total") >= 2
    assert gateway.stop() == 0


def publish_retained(broker: Mosquitto, topic: str, payload: bytes) -> None:
    with Asker(broker.mqtt("gateway"), "gateway/#") as asker:
        asker.tell(topic, payload, retain=True)


def test_an_alarm_that_leaves_the_files_is_cleared(plant: Plant) -> None:
    gateway = plant.gateway()
    plant.temperature(85)
    plant.until_state("unacknowledged")
    with Asker(plant.broker.mqtt("viewer"), "alarm/#") as asker:
        plant.write(ALARM.replace("name: high", "name: very high"))
        until(lambda: any(not one.payload for one in asker.heard), "it is cleared")
        messages = [json.loads(one.payload) for one in asker.heard if one.topic == HIGH and one.payload]
        assert (messages[-1]["event"], messages[-1]["state"]) == ("removed", "normal")
    plant.until_state("unacknowledged", HIGH.replace("high", "very high"))
    assert gateway.stop() == 0
