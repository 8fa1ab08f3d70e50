"""Derived tags in a running gateway: published like others, and totals that a restart does not reset."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from tests.asker import Asker
from tests.parts import Mosquitto, Nexus, free_port, until

PLANT = """
devices:
  - {{name: a, protocol: modbus-tcp, port: {port}, unit: 1, points: [
      {{table: holding, offset: 0, type: uint16, signal: {{kind: counter}}}},
      {{table: holding, offset: 1, type: int16, signal: {{kind: constant, value: 5}}}}]}}
"""
DEVICES = """
devices:
  - name: a
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {port}
    interval: 100ms
    tags:
      - {{name: count, address: "holding:40001:uint16"}}
      - {{name: flow, address: "holding:40002:int16", unit: l/s}}
      - {{name: double, expression: count * 2}}
      - {{name: odd, expression: 1 / (flow - 5)}}
      - {{name: volume, total: flow, per: s, unit: l}}
      - {{name: evens, count: count % 2 == 0}}
"""


def test_derived_tags_are_published_described_and_not_written_and_totals_survive(
    nexus: Callable[..., Nexus], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    port, broker = free_port(), mosquitto()
    (tmp_path / "plant.yaml").write_text(PLANT.format(port=port))
    (tmp_path / "devices.yaml").write_text(DEVICES.format(port=port))
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    with Asker(broker.mqtt("console"), "dev/#", "device/#", "answer/#") as asker:
        gateway = nexus("gateway", "--devices", str(tmp_path / "devices.yaml"), mqtt_url=broker.url).until_ready()
        until(lambda: len(asker.values("dev/a/volume")) > 20, "totals are published")
        counts, doubles = asker.values("dev/a/count"), asker.values("dev/a/double")
        assert doubles[:10] == [2 * count for count in counts[:10]]
        assert set(asker.values("dev/a/odd")) == {None}
        assert asker.ask("cmd/a/double", {"v": 1})["error"] == "tag double is derived from other tags: write those"
        described = json.loads(
            until(lambda: [one for one in asker.heard if one.topic == "device/a"], "described")[-1].payload
        )
        assert [(tag["name"], tag["address"], tag.get("unit")) for tag in described["tags"]][4:] == [
            ("volume", "total: flow", "l"),
            ("evens", "count: count % 2 == 0", None),
        ]
        said = [event for event in gateway.events() if event["event"] == "an expression has no result"]
        assert [(one["device"], one["tag"], one["reason"]) for one in said] == [("a", "odd", "division by zero")]
        assert gateway.metric("nexus_gateway_expression_faults_total") > 10

        def again(number: int, slack: float) -> None:
            before, evens = asker.values("dev/a/volume"), asker.values("dev/a/evens")
            assert before == sorted(before)
            gateway.process.send_signal(number)
            gateway.process.wait(15)
            heard = len(asker.values("dev/a/volume"))
            gateway.restart()
            until(lambda: len(asker.values("dev/a/volume")) > heard + 5, "they go on", 30)
            assert asker.values("dev/a/volume")[heard] >= before[-1] - slack
            assert asker.values("dev/a/evens")[heard] >= evens[-1] - slack

        again(signal.SIGTERM, 0)
        file = tmp_path / "spool/totals-0.json"
        size = json.loads(file.read_text())["a"]["volume"]["value"]
        until(lambda: json.loads(file.read_text())["a"]["volume"]["value"] > size, "they are written", 15)
        again(signal.SIGKILL, 40)  # of what was counted in the last seconds, nothing more is lost
    assert gateway.stop() == 0


def test_totals_go_on_where_the_gateway_that_had_the_device_left_them(
    nexus: Callable[..., Nexus], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    port, broker = free_port(), mosquitto()
    (tmp_path / "plant.yaml").write_text(PLANT.format(port=port))
    (tmp_path / "devices.yaml").write_text(DEVICES.format(port=port))
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    with Asker(broker.mqtt("viewer"), "dev/#") as asker:
        keys = {"mqtt_url": broker.url, "group": "g", "lease": "2s"}
        gateways = [
            nexus(
                "gateway", "--devices", str(tmp_path / "devices.yaml"), **keys, member=name, spool_dir=tmp_path / name
            )
            for name in ("one", "two")
        ]

        def owner() -> list[Nexus]:
            alive = [one for one in gateways if one.process.poll() is None]
            return [one for one in alive if one.metric("nexus_gateway_devices_polled") == 1]

        def moved(number: int, slack: float) -> Nexus:
            """The owner ends, and the other goes on."""
            [before] = until(owner, "one of them polls the device", 30)
            heard = len(asker.values("dev/a/volume"))
            until(lambda: len(asker.values("dev/a/volume")) > heard + 20, "the total grows")
            before.process.send_signal(number)
            before.process.wait(15)
            left, heard = asker.values("dev/a/volume")[-1], len(asker.values("dev/a/volume"))
            until(lambda: len(asker.values("dev/a/volume")) > heard + 5, "the other goes on", 40)
            assert asker.values("dev/a/volume")[heard] >= left - slack
            return before

        moved(signal.SIGTERM, 0).restart()
        until(lambda: all(one.get("/ready")[0] == 200 for one in gateways), "both are there again", 30)
        volumes = asker.values("dev/a/volume")
        assert volumes == sorted(volumes)
        moved(signal.SIGKILL, 5 * 17)  # what it had not shared yet
    assert [one.stop() for one in gateways if one.process.poll() is None] == [0]
