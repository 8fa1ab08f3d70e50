"""Reload, writes and report by exception, in a running gateway."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.runtime import mqtt
from nexus.runtime.broker import Broker, Client
from nexus.runtime.mqtt import Connection, Message
from tests.parts import Mosquitto, Nexus, free_port, until

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
    '{name: pump, address: "coil:1", writable: true, on_change: true, max_silence: 1s}'
)


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


class Ear:
    """A subscriber, for as long as the block runs."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, connection: Connection, message: Message) -> None:
        connection.acknowledge(message.mid)
        self.messages.append(message)

    def values(self, topic: str) -> list[object]:
        return [json.loads(message.payload)["v"] for message in self.messages if message.topic == topic]

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 15) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"after {seconds:g} s still not: {what}") from None


def test_changed_files_touch_only_changed_devices(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    plant.device("a", 1)
    plant.device("b", 2)
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()

    async def scenario() -> None:
        ear = Ear()
        async with mqtt.connect(Broker("127.0.0.1", broker.port), Client("ear"), ear) as connection:
            await connection.subscribe("dev/#")
            await ear.until(
                lambda: len(ear.values("dev/a/count")) > 3 and len(ear.values("dev/b/count")) > 3, "both are polled"
            )
            plant.device("b", 2, COUNT.replace("count", "renamed"))
            await ear.until(lambda: len(ear.values("dev/b/renamed")) > 3, "the changed one says its new tag")
            (plant.devices / "b.yaml").write_text("devices: [{name: b, protocol: modbuss}]")
            await ear.until(lambda: gateway.metric("nexus_gateway_config_error") == 1, "the fault is noticed")
            assert "unknown protocol 'modbuss'" in gateway.get("/health")[1]
            before = len(ear.values("dev/b/renamed"))
            await ear.until(lambda: len(ear.values("dev/b/renamed")) > before + 3, "it goes on as it was")
            (plant.devices / "b.yaml").unlink()
            await ear.until(lambda: gateway.metric("nexus_gateway_devices") == 1, "it is gone")
            assert gateway.metric("nexus_gateway_config_error") == 0
            before = len(ear.values("dev/a/count"))
            await ear.until(lambda: len(ear.values("dev/a/count")) > before + 3, "the other goes on")
            counts = ear.values("dev/a/count")
            assert counts == list(range(counts[0], counts[0] + len(counts))), "the other was disturbed"

    asyncio.run(scenario())
    assert gateway.stop() == 0


def test_writes_are_answered_and_read_back(nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]) -> None:
    plant.device("a", 1, f"{COUNT}, {MORE}")
    broker = mosquitto()
    simulator = nexus("simulate", str(plant.simulation))
    until(lambda: simulator.get("/ready")[0] == 200, "the simulator serves")
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url)

    async def scenario() -> None:
        ear = Ear()
        async with mqtt.connect(Broker("127.0.0.1", broker.port), Client("ear"), ear) as connection:
            await connection.subscribe("dev/#")
            await connection.subscribe("answer/#")
            await ear.until(lambda: ear.values("dev/a/setpoint"), "it is polled")

            async def ask(tag: str, payload: bytes, number: bytes, *, retain: bool = False) -> dict:
                await _request(connection, f"cmd/a/{tag}", payload, number, retain=retain)
                await ear.until(
                    lambda: [m for m in ear.messages if m.correlation == number], f"an answer to {tag} {payload!r}"
                )
                [message] = [m for m in ear.messages if m.correlation == number]
                return json.loads(message.payload)

            answer = await ask("setpoint", b'{"v": 12.5}', b"1")
            assert (answer["ok"], answer["v"]) == (True, 12.5)
            assert (await ask("pump", b'{"v": true}', b"2"))["v"] is True
            for number, (tag, payload, said) in enumerate(
                [
                    ("setpoint", b'{"v": 81}', "81 is outside the limits"),
                    ("setpoint", b"12", "write the request like"),
                    ("setpoint", b'{"v": "x"}', "is not a number"),
                    ("count", b'{"v": 1}', "not marked `writable: true`"),
                    ("none", b'{"v": 1}', "no tag 'none'"),
                ]
            ):
                answer = await ask(tag, payload, b"x%d" % number)
                assert not answer["ok"]
                assert said in answer["error"]
            await ear.until(lambda: ear.values("dev/a/setpoint")[-1] == 12.5, "the new value is published")
            # Writes do not disturb the polling, and the counter of reads by the device has no gap in what arrives.
            counts = ear.values("dev/a/count")
            assert len(counts) > 3
            assert counts == sorted(set(counts))
            # Report by exception: the setpoint was said twice, the pump at least once a second.
            assert ear.values("dev/a/setpoint") == [0.5, 12.5]
            await ear.until(lambda: len(ear.values("dev/a/pump")) > 4, "the silent one says that it is there")

    asyncio.run(scenario())
    assert gateway.metric("nexus_gateway_commands_total") == 7
    simulator.stop()
    until(lambda: '"offline"' in gateway_state(gateway), "the device is offline", 30)
    assert gateway.stop() == 0


async def _request(connection: Connection, topic: str, payload: bytes, number: bytes, *, retain: bool) -> None:
    """A request as any MQTT 5 client sends it: with a response topic, which our own connection never needs."""
    properties = (
        b"\x08" + len(b"answer/x").to_bytes(2, "big") + b"answer/x" + b"\x09" + len(number).to_bytes(2, "big") + number
    )
    assert connection._wire is not None
    connection._wire.publish(
        topic.encode(), payload, 60_000, retain=retain, properties=bytes([len(properties)]) + properties
    )


def gateway_state(gateway: Nexus) -> str:
    return json.dumps([event.get("event", "").removeprefix("device ") for event in gateway.events()])


def test_a_retained_request_is_not_executed(nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]) -> None:
    plant.device("a", 1, f"{COUNT}, {MORE}")
    broker = mosquitto()
    nexus("simulate", str(plant.simulation))

    async def scenario() -> None:
        ear = Ear()
        async with mqtt.connect(Broker("127.0.0.1", broker.port), Client("ear"), ear) as connection:
            await connection.subscribe("dev/#")
            await (await connection.publish("cmd/a/setpoint", b'{"v": 33}', retain=True))
            gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
            await ear.until(lambda: len(ear.values("dev/a/count")) > 10, "it is polled")
            assert ear.values("dev/a/setpoint") == [0.5]
            assert gateway.stop() == 0

    asyncio.run(scenario())
