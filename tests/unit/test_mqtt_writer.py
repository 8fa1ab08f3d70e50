"""What we write by hand is what the codec writes."""

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.mqtt.writer import Writer

topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+#\0"), min_size=1, max_size=100)
correlations = st.none() | st.binary(max_size=20)
sizes = st.integers(0, 300) | st.integers(16_000, 17_000)


@given(topics, sizes, st.integers(1, 65535), st.booleans(), correlations, st.integers(0, 9))
def test_a_message_is_written_as_the_codec_writes_it(
    topic: str, size: int, packet_id: int, retain: bool, correlation: bytes | None, expiry: int
) -> None:
    written = Writer().publish(topic, b"x" * size, packet_id, retain=retain, correlation=correlation, expiry=expiry)
    assert mqtt5.read(memoryview(written))[0] == mqtt5.PublishPacket(
        topic,
        payload=b"x" * size,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=packet_id,
        retain=retain,
        correlation_data=correlation,
        message_expiry_interval=expiry or None,
    )


@pytest.mark.parametrize("topic", ["", "a/#", "+/a", "a\0b", "a" * 65536, "ä" * 40000, "\ud800"])
def test_what_is_no_topic_is_refused_each_time(topic: str) -> None:
    writer = Writer()
    for _ in range(2):
        with pytest.raises(ValueError, match="no topic to publish on"):
            writer.publish(topic, b"", 1, retain=False, correlation=None, expiry=0)
