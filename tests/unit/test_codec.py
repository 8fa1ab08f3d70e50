"""Readings to payloads and back."""

import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.contract import topic as topics
from nexus.contract.codec import DecodeError, Fault, Point, decode, encode_device, encode_tag, numbered
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.sequence import sender
from nexus.contract.status import Status, encode_status

GATEWAY = "0f" * 16
TIME = 1703289600000
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), min_size=1, max_size=40)
times = st.integers(0, 2**53)
qualities = st.sampled_from(list(Quality))
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
units = st.none() | st.sampled_from(["°C", "m³/h", "Ω", "µS/cm", "%"])


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


@given(values, times, qualities, units)
def test_tag_message_gives_its_reading_back(value: Value, time: int, quality: Quality, unit: str | None) -> None:
    payload = encode_tag(Reading("t", time, value, quality), unit)
    [point] = decode("dev/plc/t", payload).points
    assert point == Point("dev/plc/t", time, value, quality, unit)
    assert same(point.value, value)


@given(st.dictionaries(names, st.tuples(values, times, qualities), min_size=1), times, units)
def test_device_message_gives_its_readings_back(tags: dict[str, Any], time: int, unit: str | None) -> None:
    readings = [Reading(tag, at, value, quality) for tag, (value, at, quality) in tags.items()]
    payload = encode_device(readings, time, dict.fromkeys(tags, unit) if unit else None)
    message = decode("dev/plc", payload)
    assert message.points == [Point(f"dev/plc/{r.tag}", r.time, r.value, r.quality, unit) for r in readings]
    assert not message.faults


def test_tag_message_is_as_the_contract_shows_it() -> None:
    payload = encode_tag(Reading("temperature", TIME, 84.5), "°C")
    assert payload.decode() == '{"v":84.5,"q":"good","ts":1703289600000,"u":"°C"}'


def test_device_message_is_as_the_contract_shows_it() -> None:
    readings = [Reading("temperature", TIME, 84.5), Reading("pressure", TIME, None, Quality.BAD)]
    payload = numbered(encode_device(readings, TIME, {"temperature": "°C"}), GATEWAY, 7, 2)
    assert json.loads(payload) == {
        "ts": TIME,
        "v": {"temperature": 84.5, "pressure": None},
        "q": {"pressure": "bad"},
        "u": {"temperature": "°C"},
        "p": GATEWAY,
        "n": 7,
        "m": 8,
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "half a \ud83d pair", "\udcb0C"])
def test_what_json_cannot_carry_is_null_and_bad(value: Value) -> None:
    [point] = decode("dev/a/t", encode_tag(Reading("t", TIME, value))).points
    assert (point.value, point.quality) == (None, Quality.BAD)
    [point] = decode("dev/a", encode_device([Reading("t", TIME, value)], TIME)).points
    assert (point.value, point.quality) == (None, Quality.BAD)


def test_integers_beyond_64_bits_become_floats() -> None:
    [point] = decode("dev/a/t", encode_tag(Reading("t", TIME, 2**80))).points
    assert point.value == float(2**80)


def test_publisher_and_number_ride_along() -> None:
    message = decode("dev/a/t", encode_tag(Reading("t", TIME, 1), None, GATEWAY, 12))
    assert (message.publisher, message.numbers) == (GATEWAY, (12, 12))
    whole = numbered(encode_device([Reading("a", TIME, 1), Reading("b", TIME, 2)], TIME), GATEWAY, 12, 2)
    message = decode("dev/a", whole)
    assert (message.publisher, message.numbers, len(message.points)) == (GATEWAY, (12, 13), 2)
    assert decode("dev/a/t", b'{"v":1,"ts":5}').publisher is None


def test_who_sent_what_cannot_be_read_is_known_all_the_same() -> None:
    whole = f'{{"ts":"never","v":{{"a":1,"b":[],"c":null}},"p":"{GATEWAY}","n":5,"m":7}}'
    assert sender(whole.encode()) == (GATEWAY, (5, 7))
    assert sender(f'{{"v":[],"p":"{GATEWAY}","n":5,"m":7}}'.encode())[0] is None, "one reading has one number"
    assert sender(b"\xff")[0] is None


@pytest.mark.parametrize(
    "numbers",
    [
        '"p":"gw-1","n":5,"m":6',
        f'"p":"{"A" * 32}","n":5,"m":6',
        f'"p":"{GATEWAY}\\u0000","n":5,"m":6',
        '"p":7,"n":5,"m":6',
        '"p":{"a":[]},"n":5,"m":6',
        f'"p":"{GATEWAY}","n":5,"m":7',
        f'"p":"{GATEWAY}","n":5,"m":5',
        f'"p":"{GATEWAY}","n":5',
        f'"p":"{GATEWAY}"',
        f'"p":"{GATEWAY}","n":0,"m":1',
        f'"p":"{GATEWAY}","n":-1,"m":0',
        f'"p":"{GATEWAY}","n":6,"m":5',
        f'"p":"{GATEWAY}","n":1,"m":9223372036854775806',
        f'"p":"{GATEWAY}","n":9007199254740991,"m":9007199254740992',
        f'"p":"{GATEWAY}","n":{"9" * 400},"m":6',
        f'"p":"{GATEWAY}","n":"5","m":6',
        f'"p":"{GATEWAY}","n":true,"m":6',
        f'"p":"{GATEWAY}","n":5.0,"m":6',
    ],
)
def test_numbers_that_cannot_be_are_not_believed_and_cost_no_reading(numbers: str) -> None:
    message = decode("dev/a", f'{{"ts":5,"v":{{"x":1,"y":2}},{numbers}}}'.encode())
    assert (message.publisher, message.numbers, message.misnumbered) == (None, (0, -1), True)
    assert message.values == {"x": 1, "y": 2}
    single = decode("dev/a/x", f'{{"ts":5,"v":1,{numbers}}}'.encode().replace(b'"m":6', b'"m":8'))
    if not single.misnumbered:
        assert (single.publisher, single.numbers) == (GATEWAY, (5, 5)), "a tag's message has one number"
    assert single.values == {"": 1}


def test_a_number_is_believed_for_each_reading_that_cannot_be_read_too() -> None:
    message = decode("dev/a", f'{{"ts":5,"v":{{"x":1,"y":[],"":3}},"p":"{GATEWAY}","n":5,"m":7}}'.encode())
    assert (message.publisher, message.numbers) == (GATEWAY, (5, 7))
    assert [fault.tag for fault in message.faults] == ["y", ""]


def test_names_longer_than_a_topic_can_hold_are_not_remembered() -> None:
    before = topics._name_fault.cache_info().currsize
    for number in range(10):
        assert topics.name_fault(f"{number}" * 2_000) == "is longer than 1,024 bytes"
    assert topics._name_fault.cache_info().currsize == before


@pytest.mark.parametrize(("quality", "stored"), [('"good"', 192), ('"uncertain"', 64), ('"bad"', 0), ("216", 216)])
def test_quality_is_a_word_or_a_number(quality: str, stored: int) -> None:
    [point] = decode("dev/a/t", f'{{"v":1,"q":{quality},"ts":5}}'.encode()).points
    assert point.quality == stored


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe\x00",
        b"84.5",
        b"[]",
        b"{}",
        b'{"v":1}',
        b'{"ts":1}',
        b'{"v":[1],"ts":1}',
        b'{"v":1,"ts":"now"}',
        b'{"v":1,"ts":1,"q":"fine"}',
        b'{"v":1,"ts":1,"q":256}',
        b'{"v":1,"ts":1,"u":5}',
        b'{"v":1,"ts":1e999}',
        b'{"v":{},"ts":1,"q":"bad"}',
        b'{"v":{"a":[]},"ts":1}',
        b'{"v":' + b"[" * 100_000 + b"]" * 100_000 + b',"ts":1}',
        b'{"v":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b',"ts":1}',
    ],
)
def test_what_is_not_ours_is_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode("dev/a", payload)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(payload: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode("dev/a", payload)


@given(st.recursive(values | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_random_json_never_raises_anything_else(content: object) -> None:
    for payload in (
        json.dumps(content),
        json.dumps({"v": content, "ts": 1}),
        json.dumps({"v": 1, "ts": 1, "q": content}),
    ):
        with contextlib.suppress(DecodeError):
            decode("dev/a", payload.encode("utf-8", "surrogatepass"))


def test_one_bad_value_costs_only_its_tag() -> None:
    message = decode("dev/a", b'{"ts":1,"v":{"x":1,"y":[1,2],"z":true},"q":{"z":"uncertain"},"u":{"x":"V"}}')
    assert message.points == [Point("dev/a/x", 1, 1, 192, "V"), Point("dev/a/z", 1, True, 64, None)]
    assert [fault.tag for fault in message.faults] == ["y"]
    message = decode("dev/a", b'{"ts":1,"v":{"x":1,"y":"\xd5"}}')
    assert [fault.tag for fault in message.faults] == ["y"]


@pytest.mark.parametrize(
    "beside",
    [
        *('"t":{"y":"now"}', '"t":{"y":1e999}', '"t":{"y":null}', '"t":{"y":true,"x":1703289600000}'),
        *('"q":{"y":"fine"}', '"q":{"y":256}', '"q":{"y":null}', '"q":{"y":[]}', '"u":{"y":5,"x":null}'),
        *('"t":{"y":{}},"q":{"y":"fine"},"u":{"y":[]}', '"t":{"y":[],"z":[]}'),
    ],
)
def test_what_is_said_wrongly_of_one_tag_costs_only_that_tag(beside: str) -> None:
    sent = '"p":"%s","n":7,"m":8' % ("a" * 32)
    message = decode("dev/a", f'{{"ts":{TIME},"v":{{"x":1,"y":2}},{beside},{sent}}}'.encode())
    assert message.points == [Point("dev/a/x", TIME, 1, 192, None)]
    assert [fault.tag for fault in message.faults] == ["y"]
    assert (message.publisher, message.numbers) == ("a" * 32, (7, 8))


def test_a_time_that_is_no_whole_number_is_one_all_the_same() -> None:
    [point] = decode("dev/a", b'{"ts":1,"v":{"x":1},"t":{"x":1703289600000.5}}').points
    assert point.time == 1703289600000


def test_a_message_whose_tags_are_all_wrong_is_none() -> None:
    for beside in ('"t":{"x":"now"}', '"q":{"x":"fine"}', '"t":5', '"q":"bad"', '"u":"V"'):
        with pytest.raises(DecodeError):
            decode("dev/a", f'{{"ts":1,"v":{{"x":1}},{beside}}}'.encode())


def test_an_empty_tag_name_costs_only_its_tag() -> None:
    message = decode("dev/a", b'{"ts":1,"v":{"x":1,"":3}}')
    assert [point.topic for point in message.points] == ["dev/a/x"]
    assert message.faults == [Fault("", "the tag's name is empty")]


def test_status_comes_back() -> None:
    status = Status("degraded", "2 of 5 tags cannot be read", TIME)
    assert msgspec.json.decode(encode_status(status), type=Status) == status


@given(names)
def test_a_good_name_is_one_level_of_a_topic(name: str) -> None:
    assert topics.name_fault(name) is None
    assert topics.tag("plant/line1", name).split("/") == ["dev", "plant", "line1", name]


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a\0b", "ä" * 600])
def test_hostile_tag_names_are_refused(name: str) -> None:
    assert topics.name_fault(name)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "a/+/b", "a/#"])
def test_hostile_paths_are_refused(path: str) -> None:
    assert topics.name_fault(path, path=True)
    assert topics.name_fault("plant/line1/plc001", path=True) is None


def test_topics_are_as_the_contract_shows_them() -> None:
    assert topics.device("plant/plc1") == "dev/plant/plc1"
    assert topics.status("plant/plc1") == "status/plant/plc1"
    assert topics.presence("gateway", "edge-1") == "gateway/gateway/edge-1"
    assert topics.shared_filter("ingestion") == "$share/ingestion/dev/#"
