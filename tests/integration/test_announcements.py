"""What gateways retain on the broker for the console: their devices, and themselves."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.asker import Asker
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]

DEVICE = """
  - {{name: {name}, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, interval: 100ms, tags: [
      {{name: count, address: "holding:40001:uint16", unit: V{more}}}]}}"""


class Plant:
    """Devices on one port, described in one file."""

    def __init__(self, folder: Path, nexus: Start) -> None:
        self.port = free_port()
        points = "[{table: holding, offset: 0, type: uint16, signal: {kind: counter}}]"
        simulation = folder / "plant.yaml"
        simulation.write_text(
            f"devices: [{{name: plc, protocol: modbus-tcp, port: {self.port}, unit: 1, points: {points}}}]"
        )
        self.devices = folder / "devices.yaml"
        nexus("simulate", str(simulation)).until_ready()

    def has(self, *names: str, more: str = "") -> None:
        new = self.devices.with_suffix(".new")
        new.write_text("devices:" + "".join(DEVICE.format(name=name, port=self.port, more=more) for name in names))
        new.rename(self.devices)


@pytest.fixture
def plant(tmp_path: Path, nexus: Start) -> Plant:
    return Plant(tmp_path, nexus)


def retained(broker: Mosquitto, filter_: str) -> dict[str, Any]:
    """What the broker keeps, as the console sees it."""
    with Asker(broker.mqtt("console"), filter_, "alarm/end") as asker:
        # What is retained comes before the answer to the subscription's end; one message more shows that it has.
        with Asker(broker.mqtt("gateway"), "cmd/none") as gateway:
            gateway.tell("alarm/end", "1")
        until(lambda: asker.on("alarm/end"), "all that was retained has come")
        return {one.topic: json.loads(one.payload) for one in asker.heard if one.retained}


def test_a_device_is_described_for_as_long_as_it_is_in_the_files(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    plant.has("a", "b")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url, group="g").until_ready()
    until(lambda: set(retained(broker, "device/#")) == {"device/a", "device/b"}, "both are described")
    said = retained(broker, "device/#")["device/a"]
    tag = {"name": "count", "address": "holding:40001:uint16", "unit": "V", "type": "uint16"}
    assert said == {
        "name": "a",
        "path": "a",
        "protocol": "modbus-tcp",
        "gateway": "gateway",
        "endpoint": f"127.0.0.1:{plant.port}",
        "interval": 0.1,
        "publish": "tag",
        "tags": [tag],
        "left_out": 0,
        "group": "g",
        "ts": said["ts"],
    }
    plant.has("a", more=", writable: true, max: 5")
    until(lambda: set(retained(broker, "device/#")) == {"device/a"}, "what left the files is described no more")
    changed = {**tag, "writable": True, "max": 5}
    until(lambda: retained(broker, "device/#")["device/a"]["tags"] == [changed], "the changed one anew")
    gateway.process.kill()
    broker.stop()
    broker.start()  # it keeps nothing
    assert retained(broker, "device/#") == {}
    gateway.restart()
    until(lambda: set(retained(broker, "device/#")) == {"device/a"}, "said again on the new connection")
    assert gateway.stop() == 0
    assert set(retained(broker, "device/#")) == {"device/a"}, "a gateway that stops takes no device out of the files"


def test_a_gateway_says_how_it_is_and_its_group_takes_that_for_no_member(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto()
    plant.has("a", "b", "c", "d")
    keys = {"mqtt_url": broker.url, "group": "g", "lease": "2s"}
    gateways = [
        nexus("gateway", "--devices", str(plant.devices), **keys, member=name, spool_dir=str(tmp_path / name))
        for name in ("one", "two")
    ]

    def states() -> dict[str, Any]:
        found = retained(broker, "gateway/#")
        return {name.split("/")[-2]: state for name, state in found.items() if name.endswith("/state")}

    def shares() -> list[int]:
        return [state["devices"] for state in states().values()]

    until(lambda: len(shares()) == 2 and sum(shares()) == 4 and min(shares()) > 0, "they share, and say so", 40)
    until(lambda: min(state["readings_per_second"] for state in states().values()) > 5, "they read", 40)
    for gateway in gateways:
        assert gateway.metric("nexus_gateway_group_members") == 2
        assert gateway.metric("nexus_gateway_presences_refused_total") == 0
    one = states()["one"]
    assert one["connected_since"] <= one["ts"]
    assert one["lateness_p99"] > 0
    assert one["files"]["digest"] == states()["two"]["files"]["digest"] != ""
    assert one["files"]["error"] is None
    described = {name: said["gateway"] for name, said in retained(broker, "device/#").items()}
    assert set(described.values()) == {"gateway/one", "gateway/two"}

    gateways[0].stop(signal.SIGKILL)
    moved = dict.fromkeys(described, "gateway/two")
    until(
        lambda: {name: said["gateway"] for name, said in retained(broker, "device/#").items()} == moved,
        "who takes the devices over describes them",
        30,
    )
    assert "one" in states(), "what it said last is there"
    assert gateways[1].stop() == 0
    assert "two" not in states(), "who left says nothing"


def test_a_name_that_would_be_taken_for_a_state_is_refused(nexus: Start, plant: Plant) -> None:
    plant.has("a")
    with pytest.raises(AssertionError, match="state is what gateways publish of themselves"):
        nexus("gateway", "--devices", str(plant.devices), mqtt_url="mqtt://127.0.0.1:1", member="state").until_ready()
