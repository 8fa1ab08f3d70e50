"""Messages of alarms and requests about them: what is written is read, and nothing else is."""

import json

import pytest

from nexus.contract import ack, alarm, codec
from nexus.contract.alarm import AlarmMessage, Record
from nexus.contract.codec import DecodeError

PUBLISHER = "0123456789abcdef0123456789abcdef"
RECORD = Record(
    state="shelved",
    occurrence=1703289600000,
    since=1703289601000,
    ts=1703289602000,
    active=True,
    acknowledged=False,
    latched=True,
    suppressed=True,
    until=1703293200000,
    value=84.5,
    limit=80.0,
    by="anna",
    reason="pump is being changed",
)
MESSAGE = AlarmMessage(
    "plant/plc001", "temperature", "high", RECORD, "shelved", "high", "Bearing hot", "Reduce speed", "°C"
)


@pytest.mark.parametrize("message", [MESSAGE, AlarmMessage("plc", "", "lost", Record(), "cleared")])
def test_a_message_is_read_as_it_was_written(message: AlarmMessage) -> None:
    assert alarm.decode(message.topic, alarm.encode(message)) == message


def test_an_alarm_of_a_tag_and_one_of_the_device_have_topics_of_their_own() -> None:
    assert MESSAGE.topic == "alarm/plant/plc001/temperature/high"
    assert AlarmMessage("plant/plc001", "", "lost", Record(), "raised").topic == "alarm/plant/plc001/lost"


def test_a_numbered_message_says_whose_it_is() -> None:
    payload = codec.numbered(alarm.encode(MESSAGE), PUBLISHER, 17, 1)
    found = alarm.decode(MESSAGE.topic, payload)
    assert (found.publisher, found.numbers) == (PUBLISHER, (17, 17))


def test_what_receivers_would_refuse_is_not_sent() -> None:
    record = Record(value="\ud800" + "x" * 9999, by="a\0b", reason="r" * 9999, limit=float("nan"))
    message = alarm.decode(
        MESSAGE.topic, alarm.encode(AlarmMessage("plant/plc001", "temperature", "high", record, "comment"))
    )
    assert message.record.by == "a\ufffdb"
    assert len(message.record.reason) == alarm.LONGEST_TEXT
    assert message.record.value is None
    assert message.record.limit is None
    too_large = AlarmMessage("plant/plc001", "temperature", "high", Record(value=2**70), "raised")
    assert alarm.decode(MESSAGE.topic, alarm.encode(too_large)).record.value == 2.0**70


def test_a_limit_is_a_number_whatever_tag_it_comes_from() -> None:
    message = AlarmMessage("plc", "t", "high", Record(limit=True), "raised")
    assert alarm.decode(message.topic, alarm.encode(message)).record.limit == 1.0


def changed(**keys: object) -> bytes:
    content = json.loads(alarm.encode(MESSAGE)) | keys
    return json.dumps({key: value for key, value in content.items() if value != "gone"}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no JSON",
        b"[]",
        b"[" * 100_000,
        changed(state="on fire"),
        changed(event="exploded"),
        changed(priority="urgent"),
        changed(occurrence=-1),
        changed(ts=10**17),
        changed(until=10**17),
        changed(ts="gone"),
        changed(active=1),
        changed(text="x" * 501),
        changed(reason="a\0b"),
        changed(by="\ud800"),
        changed(value="a\0b"),
        changed(value=[1]),
        changed(limit="high"),
        changed(device="plant/other"),
        changed(tag="pressure"),
        changed(name="low"),
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="not an alarm"):
        alarm.decode(MESSAGE.topic, payload)


def test_a_request_and_its_answer_are_read_as_they_were_written() -> None:
    request = ack.Request("shelve", 1703289600000, "anna", "sensor is faulty", 3600.0)
    assert ack.decode_request(ack.encode_request(request)) == request
    for answer in (ack.Answer(True, "shelved", 1703289600000), ack.Answer(False, error="no such alarm")):
        assert ack.decode_answer(ack.encode_answer(answer)) == answer


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "not JSON"),
        (b"[" * 8000, "array"),
        (b" " * 9000, "9000 bytes"),
        (b"{}", "action"),
        (b'{"action": "silence"}', "silence"),
        (b'{"action": "acknowledge", "reson": "x"}', "reson"),
        (b'{"action": "acknowledge", "seconds": 5}', "seconds"),
        (b'{"action": "shelve"}', "seconds"),
        (b'{"action": "shelve", "seconds": 0}', "seconds"),
        (b'{"action": "shelve", "seconds": 1e9}', "seconds"),
        (b'{"action": "comment", "reason": "a\\u0000b"}', "reason"),
        (b'{"action": "acknowledge", "by": "a\\nb"}', "by"),
    ],
)
def test_a_request_that_is_none_says_what_would_be_right(payload: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        ack.decode_request(payload)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"ok": true, "state": "on fire"}'])
def test_what_is_no_answer_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="no answer"):
        ack.decode_answer(payload)
