"""Payloads of other makers, by their topics."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ingestion.decode.decoders import Decoders, Rule, filters
from ingestion.settings import Settings
from nexus.contract.codec import DecodeError, Point
from nexus.process.errors import ConfigError
from nexus.process.settings import load

AT = 1703289600000
ARRIVED = AT + 12_345
TASMOTA = b"""{"Time":"2023-12-23T00:00:00","AM2301":{"Temperature":21.5,"Humidity":48},
"ENERGY":{"Power":[1,2],"Total":12.25},"TempUnit":"C"}"""
CHIRPSTACK = b"""{"deduplicationId":"3ac7","time":"2023-12-23T01:00:00.5+01:00","deviceInfo":{"devEui":"01"},
"object":{"level":4.2,"open":true,"state":"ok","nested":{"x":1}},"rxInfo":[{"rssi":-48}]}"""


def points(rule: dict[str, Any], topic: str, payload: bytes) -> list[Point]:
    return Decoders([Rule.model_validate(rule)]).decode(topic, payload, ARRIVED).points


def test_tasmota_is_stored_without_code() -> None:
    rule = {
        "topic": "tele/+/SENSOR",
        "decoder": "json",
        "time": "Time",
        "values": {"temperature": "AM2301.Temperature", "humidity": "AM2301.Humidity", "absent": "DS18B20.T"},
        "units": {"temperature": "°C"},
    }
    assert points(rule, "tele/cellar/SENSOR", TASMOTA) == [
        Point("tele/cellar/SENSOR/temperature", AT, 21.5, 192, "°C"),
        Point("tele/cellar/SENSOR/humidity", AT, 48, 192, None),
    ]


def test_chirpstack_is_stored_without_code() -> None:
    rule = {"topic": "application/+/device/+/event/up", "decoder": "json", "time": "time", "values": "object"}
    message = Decoders([Rule.model_validate(rule)]).decode("application/1/device/01/event/up", CHIRPSTACK, ARRIVED)
    assert {point.topic.rsplit("/", 1)[1]: point.value for point in message.points} == {
        "level": 4.2,
        "open": True,
        "state": "ok",
    }
    assert message.time == AT + 500
    assert [fault.tag for fault in message.faults] == ["nested"]


@pytest.mark.parametrize(
    ("time_", "unit"),
    [
        *((AT, "ms"), (AT // 1000, "s"), (AT * 1000, "us"), (AT * 1_000_000, "ns"), (AT / 1000, "auto"), (AT, "auto")),
        *((AT * 1000, "auto"), (AT * 1_000_000, "auto"), (str(AT), "auto"), ("2023-12-23T00:00:00Z", "auto")),
    ],
)
def test_times_in_every_unit(time_: object, unit: str) -> None:
    rule = {
        "topic": "v/#",
        "decoder": "json",
        "value": "val",
        "time": "t",
        "time_unit": unit,
        "quality": "q",
        "unit": "u",
    }
    payload = json.dumps({"val": 4.5, "t": time_, "q": "uncertain", "u": "bar"}).encode()
    assert points(rule, "v/a", payload) == [Point("v/a", AT, 4.5, 64, "bar")]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        *((b"21.5", 21.5), (b" -3e2 ", -300.0), (b"true", True), (b"ON", "ON"), ("größe".encode(), "größe")),
        *((b"9007199254740993", 2**53 + 1), (b"-18446744073709551617", -(2**64) - 1), (b"1e20", 1e20), (b"7", 7.0)),
    ],
)
def test_plain_payloads(payload: bytes, value: object) -> None:
    [point] = points({"topic": "legacy/#", "decoder": "plain"}, "legacy/a/b", payload)
    assert (point.topic, point.value, type(point.value)) == ("legacy/a/b", value, type(value))
    assert point.time == ARRIVED


@pytest.mark.parametrize("payload", [b"1e999", b"-1e999", b"9" * 400, b"9" * 5000])
def test_what_no_float_holds_is_bad_and_not_infinite(payload: bytes) -> None:
    [point] = points({"topic": "legacy/#", "decoder": "plain"}, "legacy/a", payload)
    assert (point.value, point.quality) == (None, 0)


@pytest.mark.parametrize(
    ("rule", "payload", "said"),
    [
        ({"decoder": "plain"}, b"\xff", "UTF-8"),
        ({"decoder": "json", "value": "to_number(v)"}, b'{"v":"1e999"}', "no number"),
        ({"decoder": "json", "value": "v", "time": "t"}, b'{"v":1,"t":%s}' % (b"9" * 400), "too large"),
        ({"decoder": "json", "value": "v"}, b'{"v":1e999}', "out of range"),
        ({"decoder": "plain"}, b"", "empty"),
        ({"decoder": "json", "value": "v"}, b"{", "not JSON"),
        ({"decoder": "json", "value": "v"}, b"[" * 100_000, "not JSON"),
        ({"decoder": "json", "value": "v"}, b'{"v":[1]}', "no number"),
        ({"decoder": "json", "values": "o"}, b'{"o":1}', "not an object"),
        ({"decoder": "json", "value": "v", "time": "t"}, b'{"v":1}', "no time"),
        ({"decoder": "json", "value": "v", "time": "t"}, b'{"v":1,"t":"soon"}', "ISO 8601"),
        ({"decoder": "json", "value": "v", "quality": "q"}, b'{"v":1,"q":"fine"}', "quality"),
        ({"decoder": "json", "value": "abs(v)"}, b'{"v":"x"}', "abs"),
    ],
)
def test_what_cannot_be_read_is_said(rule: dict[str, Any], payload: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        points({"topic": "x/#", **rule}, "x/y", payload)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"topic": "a/#/b", "decoder": "plain"}, "not an MQTT filter"),
        ({"topic": "a/b+", "decoder": "plain"}, "not an MQTT filter"),
        ({"topic": "a", "decoder": "plain", "value": "v"}, "only the decoder json"),
        ({"topic": "a", "decoder": "json"}, "either value or values"),
        ({"topic": "a", "decoder": "json", "value": "a["}, "is not JMESPath"),
        ({"topic": "a", "decoder": "xml"}, "'nexus', 'plain' or 'json'"),
        ({"topic": "a", "decoder": "json", "vlaue": "v"}, "vlaue"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate(rule)


def test_the_first_rule_that_fits_decides_and_ours_is_the_default() -> None:
    decoders = Decoders([Rule(topic="dev/a/#", decoder="plain"), Rule(topic="dev/#", decoder="nexus")])
    assert decoders.decode("dev/a/x", b"5", ARRIVED).points[0].value == 5.0
    assert decoders.decode("dev/b/x", b'{"v":1,"ts":5}', ARRIVED).points == [Point("dev/b/x", 5, 1, 192, None)]
    with pytest.raises(DecodeError):
        decoders.decode("dev/b/x", b"5", ARRIVED)


def test_what_is_beyond_our_topics_is_subscribed_to() -> None:
    rules = [Rule(topic="dev/a/#", decoder="plain"), Rule(topic="tele/#", decoder="plain")]
    assert filters("ingestion", rules) == [
        "$share/ingestion/dev/#",
        "$share/ingestion/audit/#",
        "$share/ingestion/completeness/#",
        "$share/ingestion/alarm/#",
        "$share/ingestion/tele/#",
    ]


def test_the_table_is_read_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NEXUS_DECODERS", '[{"topic": "a/#", "decoder": "plain"}]')
    assert load(Settings).decoders == (Rule(topic="a/#", decoder="plain"),)
    file = tmp_path / "decoders.yaml"
    file.write_text("- {topic: b, decoder: json, value: v}\n")
    monkeypatch.setenv("NEXUS_DECODERS", str(file))
    assert load(Settings).decoders[0].value == "v"
    for wrong in ("/no/such/file", '[{"topic": "a/#/b", "decoder": "plain"}]'):
        monkeypatch.setenv("NEXUS_DECODERS", wrong)
        with pytest.raises(ConfigError, match="NEXUS_DECODERS"):
            load(Settings)
