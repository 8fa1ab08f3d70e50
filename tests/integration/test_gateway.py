"""Reload, writes and report by exception, in a running gateway."""

import json
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.asker import Asker, Heard
from tests.conftest import RULES, Production
from tests.deploy.stand_ins.broker import configured
from tests.parts import ANYBODY, Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]

PLANT = """
devices:
  - {name: a, protocol: modbus-tcp, port: %(port)d, unit: 1, points: [
      {table: holding, offset: 0, type: uint16, signal: {kind: counter}},
      {table: holding, offset: 1, type: int16, signal: {kind: constant, value: 5}},
      {table: coil, offset: 0, type: bool, signal: {kind: constant, value: 0}}]}
  - {name: b, protocol: modbus-tcp, port: %(port)d, unit: 2, points: [{table: holding, offset: 0, type: uint16, signal: {kind: counter}}]}
"""
DEVICE = "  - {{name: {name}, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, unit: {unit}, interval: 100ms, tags: [{tags}]}}\n"
COUNT = '{name: count, address: "holding:40001:uint16"}'
MORE = (
    '{name: setpoint, address: "holding:40002:int16", scale: 0.1, writable: true, min: 0, max: 80, on_change: true}, '
    '{name: free, address: "holding:40002:int16", scale: 0.1, writable: true, on_change: true}, '
    '{name: pump, address: "coil:1", writable: true, on_change: true, max_silence: 1s}'
)

# Put before the gateway's own: while the file is there, its disk answers nobody.
HANGS = """
import functools, os, sqlite3, time

class Database(sqlite3.Connection):
    def executemany(self, *given):
        while os.path.exists(%r):
            time.sleep(0.05)
        return super().executemany(*given)

sqlite3.connect = functools.partial(sqlite3.connect, factory=Database)
"""


class Plant:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.simulation, self.devices = folder / "plant.yaml", folder / "devices"
        self.simulation.write_text(PLANT % {"port": self.port})
        self.devices.mkdir()

    def device(self, name: str, unit: int, tags: str = COUNT) -> None:
        text = DEVICE.format(name=name, port=self.port, unit=unit, tags=tags)
        file = self.devices / f"{name}.yaml"
        # As a ConfigMap is changed: the new file takes the old one's place.
        temporary = self.devices / ".new"
        temporary.write_text(f"devices:\n{text}")
        temporary.rename(file)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_changed_files_touch_only_changed_devices(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant.device("a", 1)
    plant.device("b", 2)
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
    with Asker(broker.mqtt("viewer"), "dev/#") as asker:

        def goes_on(topic: str) -> None:
            before = len(asker.values(topic))
            until(lambda: len(asker.values(topic)) > before + 3, f"{topic} goes on")

        goes_on("dev/a/count")
        goes_on("dev/b/count")
        plant.device("b", 2, COUNT.replace("count", "renamed"))
        until(lambda: len(asker.values("dev/b/renamed")) > 3, "the changed one says its new tag")
        (plant.devices / "b.yaml").write_text("devices: [{name: b, protocol: modbuss}]")
        until(lambda: gateway.metric("nexus_gateway_config_error") == 1, "the fault is noticed")
        assert "unknown protocol 'modbuss'" in gateway.get("/health")[1]
        goes_on("dev/b/renamed")
        (plant.devices / "b.yaml").unlink()
        until(lambda: gateway.metric("nexus_gateway_devices") == 1, "it is gone")
        assert gateway.metric("nexus_gateway_config_error") == 0
        goes_on("dev/a/count")
        counts = asker.values("dev/a/count")
        assert counts == list(range(counts[0], counts[0] + len(counts))), "the other was disturbed"
    assert gateway.stop() == 0


@pytest.fixture
def served(nexus: Start, plant: Plant) -> Nexus:
    """The plant's simulator, and a device file with tags to write."""
    plant.device("a", 1, f"{COUNT}, {MORE}")
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    return simulator


def test_writes_are_answered_and_read_back(nexus: Start, plant: Plant, served: Nexus, production: Production) -> None:
    with Asker(production.mqtt("operator"), "dev/#", "answer/#") as asker:
        gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=production.mqtt("gateway")).until_ready()
        answer = asker.ask("cmd/a/setpoint", {"v": 12.5})
        assert (answer["ok"], answer["v"]) == (True, 12.5)
        assert asker.ask("cmd/a/pump", {"v": True}, qos=0)["v"] is True
        assert asker.ask("cmd/a/pump", {"v": False}, qos=2)["v"] is False
        for tag, payload, said in (
            ("setpoint", '{"v": 81}', "81 is outside the limits"),
            ("setpoint", "12", "write the request like"),
            ("setpoint", '{"v": "x"}', "is not a number"),
            ("setpoint", '{"v": 0.33}', "whole numbers"),
            ("pump", '{"v": "off"}', "a coil takes true or false"),
            ("pump", '{"v": 0}', "a coil takes true or false"),
            ("count", '{"v": 1}', "not marked `writable: true`"),
            ("none", '{"v": 1}', "no tag 'none'"),
        ):
            answer = asker.ask(f"cmd/a/{tag}", payload)
            assert not answer["ok"]
            assert said in answer["error"]
        until(lambda: asker.values("dev/a/setpoint")[-1] == 12.5, "the new value is published")
        # Writes do not disturb the polling, and the counter of reads by the device has no gap in what arrives.
        counts = asker.values("dev/a/count")
        assert len(counts) > 3
        assert counts == sorted(set(counts))
        # Report by exception: the setpoint was said twice, the pump at least once a second.
        assert asker.values("dev/a/setpoint") == [0.5, 12.5]
        before = len(asker.values("dev/a/pump"))
        until(lambda: len(asker.values("dev/a/pump")) > before + 1, "the silent one says that it is there")
    assert gateway.metric("nexus_gateway_commands_total") == 11
    served.stop()
    until(lambda: '"offline"' in gateway_state(gateway), "the device is offline", 30)
    assert "1 of 1 devices are offline: a" in gateway.get("/health")[1]
    assert gateway.stop() == 0


def test_who_may_say_nothing_of_itself_still_sends_its_readings(
    nexus: Start, plant: Plant, served: Nexus, mosquitto: Callable[..., Mosquitto], broker_folder: Path
) -> None:
    folder = broker_folder / f"poor-{plant.port}"
    folder.mkdir()
    folder.chmod(0o755)
    rules = RULES.read_text().replace('publish, ["gateway/+/${username}/#"]', 'publish, ["elsewhere"]')
    configured(folder, {"gateway": "g", "viewer": "v"}, rules.replace('"dev/#", "status/#", "answer/#"', '"dev/#"'))
    access = f"allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl"
    broker = mosquitto(access=access)
    with Asker(f"mqtt://viewer:v@127.0.0.1:{broker.port}", "dev/#", "status/#") as asker:
        gateway = nexus(
            "gateway", "--devices", str(plant.devices), mqtt_url=f"mqtt://gateway:g@127.0.0.1:{broker.port}"
        )
        until(lambda: len(asker.values("dev/a/count")) > 3, "readings flow", 30)
        until(lambda: gateway.metric("nexus_gateway_control_topics_denied") == 3, "all it says of itself is missed", 30)
        problems = json.loads(gateway.get("/health")[1])["problems"]
        assert "the broker refuses our presence on gateway/gateway/gateway" in " ".join(problems)
        said = [one for one in gateway.events() if one.get("topic") == "status/a"]
        assert [one["reason"] for one in said] == ["Not authorized"]
        assert gateway.metric("nexus_gateway_topics_denied") == 0
        assert not asker.on("status/a")
    assert gateway.stop() == 0


def gateway_state(gateway: Nexus) -> str:
    return json.dumps([event.get("event", "").removeprefix("device ") for event in gateway.events()])


HOSTILE = (
    '{"v":1e308}',
    '{"v":-1e308}',
    '{"v":1e999}',
    '{"v":NaN}',
    '{"v":%s}' % ("9" * 400),
    '{"v":%s}' % ("9" * 5000),
    '{"v":"%s"}' % ("x" * 100_000),
    '{"v":1,"x":%s}' % ("[" * 3000 + "]" * 3000),
    '{"v":[1]}',
    '{"v":{}}',
    '{"v":null}',
    '{"v":"\\ud800"}',
    '{"v":1,"by":"\\u0000"}',
    '{"v":1,"ts":1e308}',
    '{"v":1,"ts":1}',
    b"\xff\xfe",
    "",
    "null",
    '"' * 50,
)


def test_whatever_a_command_holds_it_ends_nothing(
    nexus: Start, plant: Plant, served: Nexus, production: Production
) -> None:
    with Asker(production.mqtt("operator"), "dev/#", "answer/#") as asker:
        gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=production.mqtt("gateway")).until_ready()
        for tag in ("setpoint", "free", "pump"):
            for payload in HOSTILE:
                assert not asker.ask(f"cmd/a/{tag}", payload)["ok"], payload
        assert asker.ask("cmd/a/setpoint", {"v": 3})["ok"]
        counts = asker.values("dev/a/count")
        assert counts == list(range(counts[0], counts[0] + len(counts))), "the polling was disturbed"
    assert gateway.metric("nexus_handler_faults_total") == 0
    assert [event for event in gateway.events() if event["event"] == "connected"][1:] == []
    assert gateway.stop() == 0


def test_the_gateway_says_nothing_where_it_is_told_to(
    nexus: Start, plant: Plant, served: Nexus, mosquitto: Callable[..., Mosquitto]
) -> None:
    """On a broker that takes anybody, too, whose rules would keep it from it: what a gateway publishes is believed."""
    broker = mosquitto(access=ANYBODY)
    with Asker(broker.url, "#") as asker:
        # Retained, it would come again with each connection.
        asker.tell("cmd/a/setpoint", {"v": 33}, retain=True, answer_to="dev/a/temperature")
        gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
        for where in ("dev/a/temperature", "cmd/a/pump", "status/a", "gateway/gateway/x"):
            asker.tell("cmd/a/setpoint", {"v": 34}, answer_to=where)
        assert asker.ask("cmd/a/setpoint", {"v": 35}, by="anna")["ok"]
        assert not asker.ask("cmd/a/setpoint", {"v": 36, "by": "berta"}, retain=True)["ok"]
        until(lambda: asker.values("dev/a/setpoint")[-1] == 35, "the one good request is executed")
        assert asker.values("dev/a/setpoint") == [0.5, 35]
        assert asker.values("dev/a/temperature") == []
        assert [
            one for one in asker.heard if b'"ok"' in one.payload and not one.topic.startswith(("answer/", "audit/"))
        ] == []
        [record] = until(lambda: asker.on("audit/a/setpoint"), "the write is recorded")
        found = [record[key] for key in ("event", "by", "value", "was", "now", "ok", "error")]
        assert found == ["write", "anna", 35, 0.5, 35.0, True, None]
        assert len(record["id"]) == 32
    [line] = [event for event in gateway.events() if event["event"] == "write" and event["error"] is None]
    assert (line["by"], line["value"]) == ("anna", 35)
    assert gateway.stop() == 0


def test_pages_that_are_attacked_cost_no_reading(
    nexus: Start, plant: Plant, served: Nexus, mosquitto: Callable[..., Mosquitto]
) -> None:
    """Half-sent requests without end, and loops on the metrics: the polling goes on, and a device can be reached again."""
    broker = mosquitto()
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
    with (
        Asker(broker.mqtt("viewer"), "dev/#", "status/#") as asker,
        ExitStack() as stack,
        ThreadPoolExecutor(8) as loops,
    ):
        until(lambda: asker.values("dev/a/count"), "it is polled")
        for _ in range(300):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            half.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        asking = [loops.submit(lambda: [gateway.get("/metrics") for _ in range(10)]) for _ in range(8)]
        served.stop()
        until(lambda: asker.on("status/a")[-1]["state"] == "offline", "the device is off", 30)
        served.restart()
        until(lambda: asker.on("status/a")[-1]["state"] == "online", "the device is reached again", 30)
        for one in asking:
            one.result()
        assert gateway.get("/health")[0] == 200
    assert len([event for event in gateway.events() if event["event"] not in ("connected", "started")]) < 20
    assert gateway.stop() == 0


def test_a_gateway_is_ready_when_its_first_device_is_known(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant.device("a", 1)
    with socket.create_server(("127.0.0.1", plant.port)):  # takes connections, and says nothing
        gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=mosquitto().url)
        until(lambda: gateway.metric("nexus_gateway_broker_connected") == 1, "it is connected")
        status, body = gateway.get("/ready")
        assert (status, "the first device" in body) == (503, True)
        gateway.until_ready()
    assert gateway.stop() == 0


def test_a_device_whose_gateway_was_killed_is_answered_for(
    nexus: Start, plant: Plant, served: Nexus, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    more = "".join(
        f"\n  - {{name: a{n}, protocol: modbus-tcp, host: 127.0.0.1, port: {plant.port}, unit: 1, tags: [{MORE}]}}"
        for n in range(8)
    )
    (plant.devices / "a.yaml").write_text(f"devices:{more}\n")
    with Asker(broker.mqtt("operator"), "answer/#", "status/#", "gateway/#") as asker:

        def asked(number: int) -> dict[str, Any]:
            """The answer of who polls the device, once it is connected, or of who knows that nobody does."""
            answers: list[dict[str, Any]] = []

            def is_settled() -> bool:
                answers.append(asker.ask(f"cmd/a{number}/setpoint", {"v": number}))
                return "the device is not connected" not in str(answers[-1].get("error"))

            until(is_settled, "the device is connected")
            return answers[-1]

        gateways = [
            nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, group="g", member=name, lease="20s")
            for name in ("one", "two")
        ]
        for one in gateways:
            one.until_ready()

        def polled() -> list[float]:
            return [one.metric("nexus_gateway_devices_polled") for one in gateways]

        until(lambda: min(polled()) > 0 and sum(polled()) == 8, "both poll some, and each device has one", 60)
        until(lambda: all(asker.on(f"status/a{n}") for n in range(8)), "each device is known to somebody", 60)
        until(lambda: all(asker.on(f"status/a{n}")[-1]["state"] == "online" for n in range(8)), "all are online", 60)
        gateways[0].process.kill()
        gateways[0].process.wait()

        def presences() -> list[Heard]:
            return [
                one for one in asker.heard if one.topic.startswith("gateway/g/") and not one.topic.endswith("/state")
            ]

        until(lambda: any(one.content["state"] == "lost" for one in presences()), "its last will is out")
        answers = [asked(number) for number in range(8)]
    done = [answer for answer in answers if answer["ok"]]
    refused = [answer for answer in answers if "no gateway polls this device" in answer.get("error", "")]
    assert len(done) + len(refused) == 8, [str(one.get("error")) for one in answers if one not in done + refused]
    assert done
    assert refused


def test_at_a_stop_the_disk_has_what_was_read_before_the_broker_is_waited_for(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """The node's network is gone, and the node goes too: what kills the gateway does not wait until its stop is over."""
    plant.device("a", 1)
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, receipts="none").until_ready()
    before = gateway.metric("nexus_gateway_readings_total")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: gateway.metric("nexus_gateway_readings_total") > before + 5, "readings are under way")
        gateway.process.send_signal(signal.SIGTERM)
        with closing(sqlite3.connect(f"file:{tmp_path}/spool/spool-0.db?mode=ro", uri=True)) as spool:
            asked = "SELECT coalesce(sum(readings), 0) FROM message"
            until(lambda: spool.execute(asked).fetchone()[0] >= 5, "they are on the disk")
        with pytest.raises(subprocess.TimeoutExpired):  # as it would if the broker were waited for first
            gateway.process.wait(1)
        assert gateway.process.wait(10) == 0
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_a_stop_while_another_process_has_locked_the_spool_is_orderly_and_counts_what_is_lost(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    plant.device("a", 1)
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, receipts="none").until_ready()
    with closing(sqlite3.connect(tmp_path / "spool/spool-0.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = gateway.metric("nexus_gateway_readings_total")
        broker.stop()
        until(lambda: gateway.metric("nexus_gateway_readings_total") > before + 5, "readings that nobody takes")
        assert gateway.stop() == 0
        other.execute("ROLLBACK")
    [lost] = [event for event in gateway.events() if event["event"].startswith("readings are lost")]
    assert lost["readings"] >= 5
    assert "locked" in lost["reason"]


@pytest.mark.parametrize("is_frozen", [False, True], ids=["broker gone", "broker frozen"])
def test_a_stop_while_the_disk_hangs_is_orderly_and_counts_what_is_lost(
    nexus: Start,
    plant: Plant,
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_frozen: bool,
) -> None:
    plant.device("a", 1)
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    hung = tmp_path / "hung"
    (tmp_path / "sitecustomize.py").write_text(HANGS % str(hung))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, receipts="none").until_ready()
    hung.touch()
    before = gateway.metric("nexus_gateway_readings_total")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        if not is_frozen:
            broker.stop(signal.SIGKILL)
        until(lambda: gateway.metric("nexus_gateway_readings_total") > before + 5, "readings that nobody takes")
        assert gateway.stop() == 0
    finally:
        if is_frozen:
            broker.process.send_signal(signal.SIGCONT)
    at = {event["event"].partition(":")[0]: datetime.fromisoformat(event["timestamp"]) for event in gateway.events()}
    [lost] = [event for event in gateway.events() if event["event"].startswith("readings are lost")]
    assert lost["readings"] >= 5
    assert "did not answer" in lost["reason"]
    assert "the disk does not answer" in at
    assert at["the disk does not answer"] - at["stopping"] < timedelta(seconds=9), "docker kills after 10"
