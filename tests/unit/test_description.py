"""What is said of devices and gateways, for people."""

import asyncio
from math import inf
from pathlib import Path
from typing import cast

import pytest

from gateway import metrics, vitals
from gateway.config import devices as config
from gateway.config.description import describe
from gateway.config.devices import ConfiguredDevice
from gateway.delivery import descriptions
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.descriptions import EXPIRY_SECONDS, Descriptions
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.description import (
    AlarmLimit,
    AlarmLimitTag,
    Description,
    TagDescription,
    decode_description,
    encode_description,
)
from nexus.contract.gateway_state import DeviceFiles, GatewayState, decode_gateway_state, encode_gateway_state
from nexus.contract.presence import decode_presence

FILE = """
devices:
  - name: press
    path: plant/press
    protocol: opcua
    endpoint: opc.tcp://10.0.0.7:4840/line
    security: {policy: Basic256Sha256, mode: SignAndEncrypt, trust: any}
    username: anna
    password: ${DEVICE_PASSWORD}
    tags: [{name: force, address: "ns=2;s=Press.Force", unit: kN, interval: 5s}]
  - name: meter
    protocol: modbus-tcp
    host: 10.0.0.8
    addressing: zero
    publish: device
    interval: 2s
    tags:
      - {name: level, address: " holding:0:float32 ", writable: true, min: 0, max: 80}
      - {name: on, address: "coil:1"}
  - {name: filler, protocol: s7, host: 10.0.0.9, tags: [{name: level, address: "db1.dbd0:real"}]}
"""
STATE = GatewayState("0.2", 3, 10.5, None, 4, 5, None, 6, 7, DeviceFiles("ab", False), 8)


def configured(folder: Path) -> dict[str, ConfiguredDevice]:
    file = folder / "devices.yaml"
    file.write_text(FILE)
    return {one.device.name: one for one in config.load(file, {"DEVICE_PASSWORD": "very-secret"})}


def test_a_device_is_described_as_its_file_writes_it_and_without_secrets(tmp_path: Path) -> None:
    found = {name: describe(one, "line1", "gateway-0", 17) for name, one in configured(tmp_path).items()}
    level = TagDescription("level", "holding:0:float32", None, "float32", writable=True, min=0, max=80)
    on = TagDescription("on", "coil:1", None, "bool")
    assert found["meter"] == Description(
        "meter", "meter", "modbus-tcp", "gateway-0", "10.0.0.8:502", 2.0, "device", (level, on), 17, group="line1"
    )
    assert found["press"].endpoint == "opc.tcp://10.0.0.7:4840/line"
    assert found["press"].tags == (TagDescription("force", "ns=2;s=Press.Force", "kN"),)
    assert (found["filler"].endpoint, found["filler"].tags[0].type) == ("10.0.0.9:102", "REAL")
    payload = encode_description(found["press"])
    assert decode_description(payload) == found["press"]
    assert b"secret" not in payload
    assert b"anna" not in payload


def test_limits_of_alarms_are_told_and_the_tags_whose_values_are_limits(tmp_path: Path) -> None:
    alarms = "[{name: high, above: 80, priority: critical}, {name: band, outside: [5, 90.5]}, {name: below on, below: on}, {name: bad, bad: true}]"
    file = tmp_path / "devices.yaml"
    text = FILE.replace("coil:1", "holding:2:float32")
    file.write_text(text.replace("min: 0, max: 80", f"min: 0, max: 80, alarms: {alarms}"))
    [meter] = [one for one in config.load(file, {"DEVICE_PASSWORD": "very-secret"}) if one.device.name == "meter"]
    level, on = describe(meter, "line1", "gateway-0", 17).tags
    assert level.alarms == (AlarmLimit("high", 80, "critical"), AlarmLimit("band", 5), AlarmLimit("band", 90.5))
    assert level.limit_tags == (AlarmLimitTag("below on", "on"),)
    assert (on.alarms, on.limit_tags) == ((), ())


def test_how_an_address_is_written_is_nothing_that_gateways_could_disagree_on(tmp_path: Path) -> None:
    assert "holding:0:float32" not in repr(configured(tmp_path)["meter"].device.tags)


def test_a_description_that_is_too_large_for_a_message_lacks_its_last_tags() -> None:
    tags = tuple(TagDescription(f"t{number}", f"holding:{number}:uint16") for number in range(1000))
    whole = Description("d", "d", "modbus-tcp", "g", "h:502", 1.0, "tag", tags, 1)
    payload = encode_description(whole, 10_000)
    found = decode_description(payload)
    assert 9_000 < len(payload) <= 10_000
    assert found.tags == tags[: len(found.tags)]
    assert found.left_out == 1000 - len(found.tags)


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"name": 1}', b"\xff", b"[" * 100_000])
def test_what_nobody_says_is_refused(payload: bytes) -> None:
    for decode in (decode_description, decode_gateway_state):
        with pytest.raises(DecodeError):
            decode(payload)


def test_a_gateways_state_is_no_word_of_a_member() -> None:
    assert decode_gateway_state(encode_gateway_state(STATE)) == STATE
    name = topic.gateway_state("g", "gateway/pod-1")
    assert name == "gateway/g/gateway/pod-1/state"
    assert topic.member_of("g", name) is None
    with pytest.raises(DecodeError):  # by gateways that do not know the topic yet
        decode_presence(encode_gateway_state(STATE))


class Broker:
    """Notes what it is to retain; with `code` it refuses."""

    maximum_packet_size = 1_000_000

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.kept: list[tuple[str, bytes, int]] = []

    async def publish(self, name: str, payload: bytes, *, retain: bool, expiry: int) -> asyncio.Future[int]:
        assert retain
        self.kept.append((name, payload, expiry))
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(self.code)
        return answer


async def said(broker: Broker, one: Descriptions, count: int) -> None:
    """Runs for one connection, until so many messages have come and no more do."""
    running = asyncio.create_task(one.run(cast("mqtt.Connection", broker)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(broker.kept) == count
    running.cancel()
    await asyncio.wait([running])


async def test_descriptions_follow_the_devices_from_connection_to_connection(tmp_path: Path) -> None:
    devices, ours = configured(tmp_path), {"plant/press", "meter", "filler"}
    words = Descriptions(
        ControlTopics(), BlockedTopics(), lambda path: path in ours, lambda one, _: one.device.name.encode()
    )
    for one in devices.values():
        words.add(one)
    ours.discard("filler")  # another gateway may have it, as long as it is not known
    first = Broker()
    await said(first, words, 2)
    assert set(first.kept) == {
        ("device/plant/press", b"press", EXPIRY_SECONDS),
        ("device/meter", b"meter", EXPIRY_SECONDS),
    }
    words.forget("filler")  # another gateway has it
    words.remove("meter")
    second = Broker()
    await said(second, words, 2)
    assert set(second.kept) == {("device/plant/press", b"press", EXPIRY_SECONDS), ("device/meter", b"", 0)}
    third = Broker()
    await said(third, words, 1)  # what is gone is gone


async def test_a_broker_that_refuses_one_description_is_not_asked_for_the_next_at_once(tmp_path: Path) -> None:
    def describe_one(one: ConfiguredDevice, _: int) -> bytes:
        if one.device.name == "meter":
            raise RuntimeError("a driver's fault")
        return b"x"

    control = ControlTopics()
    words = Descriptions(control, BlockedTopics(), lambda _: True, describe_one)
    for one in reversed(configured(tmp_path).values()):
        words.add(one)
    await said(Broker(code=0x87), words, 1)
    assert list(control.denied) == ["device/filler"]
    assert descriptions.REFUSED_SECONDS > 1
    await said(Broker(), words, 1)  # not the refused one, nor the one that cannot be described


def test_vitals_are_those_of_the_last_seconds() -> None:
    own = vitals.Vitals(100.0)
    metrics.device("vital").readings += 50
    for late in [0.0005] * 98 + [0.15] * 2:
        metrics.lateness.observe(late)
    rate, lateness = own.take(105.0)
    assert rate == 10.0
    assert lateness is not None
    assert 0.1 < lateness <= 0.2
    metrics.forget("vital")
    assert own.take(110.0) == (0.0, None)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert vitals.quantile(0.99, [(1.0, 0.0), (inf, 5.0)]) == 1.0
    assert vitals.quantile(0.5, [(1.0, 4.0), (3.0, 8.0), (inf, 8.0)]) == 1.0
    assert vitals.quantile(0.75, [(1.0, 4.0), (3.0, 8.0), (inf, 8.0)]) == 2.0
