"""What we write by hand is what the codec writes."""

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.mqtt.reader import LARGEST
from nexus.mqtt.writer import Writer

topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+#\0"), min_size=1, max_size=100)
correlations = st.none() | st.binary(max_size=20)
answers = st.none() | st.just("answer/me")
sizes = st.integers(0, 300) | st.integers(16_000, 17_000)


@given(topics, sizes, st.integers(1, 65535), st.booleans(), answers, correlations, st.integers(0, 9))
def test_a_message_is_written_as_the_codec_writes_it(
    topic: str, size: int, packet_id: int, retain: bool, answer: str | None, correlation: bytes | None, expiry: int
) -> None:
    written, too_large = Writer().publish(
        [(topic, b"x" * size)],
        [packet_id],
        LARGEST,
        retain=retain,
        response_topic=answer,
        correlation=correlation,
        expiry=expiry,
    )
    assert not too_large
    assert mqtt5.read(memoryview(written)) == (
        _packet(topic, size, packet_id, retain, answer, correlation, expiry),
        len(written),
    )


def _packet(
    topic: str, size: int, packet_id: int, retain: bool, answer: str | None, correlation: bytes | None, expiry: int
) -> mqtt5.PublishPacket:
    return mqtt5.PublishPacket(
        topic,
        payload=b"x" * size,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=packet_id,
        retain=retain,
        response_topic=answer,
        correlation_data=correlation,
        message_expiry_interval=expiry or None,
    )


@given(st.lists(sizes, max_size=5), st.integers(20, 20_000))
def test_what_is_larger_than_the_broker_takes_is_left_out_of_the_rest(sizes: list[int], largest: int) -> None:
    messages = [("dev/plc", b"x" * size) for size in sizes]
    packet_ids = list(range(1, len(messages) + 1))
    alone = {
        number: Writer().publish([one], [number], LARGEST)[0] for number, one in zip(packet_ids, messages, strict=True)
    }
    written, too_large = Writer().publish(messages, packet_ids, largest)
    assert too_large == [number for number, packet in alone.items() if len(packet) > largest]
    assert written == b"".join(packet for packet in alone.values() if len(packet) <= largest)


@pytest.mark.parametrize("topic", ["", "a/#", "+/a", "a\0b", "a" * 65536, "ä" * 40000, "\ud800"])
def test_what_is_no_topic_is_refused_each_time(topic: str) -> None:
    writer = Writer()
    for _ in range(2):
        with pytest.raises(ValueError, match="not a topic to publish on"):
            writer.publish([("dev/plc", b""), (topic, b"")], [1, 2], LARGEST)
