"""What a broker sends is read as MQTT, or ends the connection: nothing in between, and nothing twice."""

from itertools import pairwise

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.mqtt import text
from nexus.mqtt.errors import PacketError
from nexus.mqtt.reader import LARGEST, Acks, PacketReader, Unreadable

# At text of a packet that is broken otherwise too, the parser panics, and says so besides.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="+#"), min_size=1, max_size=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
published = st.builds(
    mqtt5.PublishPacket,
    topics,
    payload=st.binary(max_size=300),
    qos=st.just(mqtt5.QoS.AT_LEAST_ONCE),
    packet_id=st.integers(1, 65535),
    retain=st.booleans(),
    message_expiry_interval=st.none() | st.integers(0, 2**32 - 1),
    response_topic=st.none() | topics,
    correlation_data=st.none() | st.binary(max_size=20),
    user_properties=st.lists(st.tuples(texts, texts), max_size=2),
)
reasons = st.sampled_from([mqtt5.PubAckReasonCode.SUCCESS, mqtt5.PubAckReasonCode.NOT_AUTHORIZED])
acknowledged = st.builds(mqtt5.PubAckPacket, st.integers(1, 65535), reason_code=reasons)
others = st.sampled_from(
    [mqtt5.ConnAckPacket(), mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]), mqtt5.PingRespPacket()]
)
places = st.lists(st.integers(0, 5000), max_size=20)


def puback(packet_id: int, code: int) -> mqtt5.PubAckPacket:
    packet, _ = mqtt5.read(memoryview(b"\x40\x03" + packet_id.to_bytes(2, "big") + bytes([code])))
    assert isinstance(packet, mqtt5.PubAckPacket)
    return packet


def read(pieces: list[bytes]) -> list[object]:
    """What comes of the pieces, and then the error if there is one."""
    reader, out = PacketReader(), list[object]()
    try:
        for piece in filter(None, pieces):
            for packet in reader.feed(piece):
                if isinstance(packet, Acks):
                    out += [puback(packet_id, packet.code) for packet_id in packet.packet_ids]
                else:
                    out.append(packet)
    except PacketError as error:
        out.append(error)
    return out


def cut(data: bytes, at: list[int]) -> list[bytes]:
    ends = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[one:other] for one, other in pairwise(ends)]


@given(st.lists(published | acknowledged | others, max_size=8), places)
def test_packets_come_whole_and_in_order_however_they_are_cut(packets: list[mqtt5.Packet], at: list[int]) -> None:
    assert read(cut(b"".join(packet.write() for packet in packets), at)) == packets


@given(st.lists(published | acknowledged, max_size=4), st.binary(max_size=200), places)
def test_whatever_follows_what_came_whole_is_given_once(
    packets: list[mqtt5.Packet], noise: bytes, at: list[int]
) -> None:
    data = b"".join(packet.write() for packet in packets) + noise
    assert read(cut(data, at))[: len(packets)] == packets


@given(published, st.integers(0, 1000), st.integers(0, 255), places)
def test_one_wrong_byte_gives_at_most_another_message(
    packet: mqtt5.PublishPacket, where: int, byte: int, at: list[int]
) -> None:
    """And no error but ours."""
    data = bytearray(packet.write())
    data[where % len(data)] = byte
    read(cut(bytes(data), at))


@given(published)
def test_text_that_is_utf8_is_never_called_unreadable(packet: mqtt5.PublishPacket) -> None:
    assert text.unreadable(packet.write(), 0) is None


@given(published, published, st.integers(0, 1000), st.sampled_from([0x80, 0xC0, 0xFF]))
def test_what_is_called_unreadable_ends_where_it_says(
    packet: mqtt5.PublishPacket, behind: mqtt5.PublishPacket, where: int, byte: int
) -> None:
    topic, data = packet.topic.encode(), bytearray(packet.write())
    data[data.index(len(topic).to_bytes(2, "big") + topic) + 2 + where % len(topic)] = byte
    out = read([bytes(data) + behind.write()])
    assert out[-1] == behind
    assert isinstance(out[0], Unreadable | mqtt5.PublishPacket)
    assert out[0].packet_id == packet.packet_id


MALFORMED, PROTOCOL, TOO_LARGE = 0x81, 0x82, 0x95


@pytest.mark.parametrize(
    ("packet", "reason_code"),
    [
        (b"\x40\x00", MALFORMED),
        (b"\x40\x01\x00", MALFORMED),
        (b"\x42\x02\x00\x01", MALFORMED),
        (b"\x40\x04\x00\x01\x00\x05", MALFORMED),
        (b"\x40\x04\x00\x01\x00\x80", MALFORMED),
        (b"\x40\x03\x00\x01\x55", MALFORMED),
        (b"\x32\x00", MALFORMED),
        (b"\x32\x01\x00", MALFORMED),
        (b"\x32\x04\x00\x09ab", MALFORMED),
        (b"\x30\x02\x00\x00", MALFORMED),
        (b"\x30\x03\x00\x00\x00", MALFORMED),
        (b"\x32\x05\x00\x01a\x00\x01", MALFORMED),
        (b"\x32\x06\x00\x01a\x00\x01\x05", MALFORMED),
        (b"\x32\x06\x00\x01a\x00\x01\xff", MALFORMED),
        (b"\x36\x06\x00\x01a\x00\x01\x00", MALFORMED),
        (b"\x38\x04\x00\x01a\x00", MALFORMED),
        (b"\x30\xff\xff\xff\xff\x01", MALFORMED),
        (b"\x30\x05\x00\x01a\x01\x99", MALFORMED),
        (b"\x30\x0c\x00\x01a\x08\x08\x00\x01a\x08\x00\x01a", MALFORMED),
        (b"\x90\x04\x00\x01\x00\x55", MALFORMED),
        (b"\x20\x06\x00\x00\x03\x21\x00\x00", MALFORMED),
        (b"\x00\x00", MALFORMED),
        (b"\x91\x00", MALFORMED),
        (b"\x34\x06\x00\x01a\x00\x01\x00", PROTOCOL),
        (b"\x10\x00", PROTOCOL),
        (b"\x50\x02\x00\x01", PROTOCOL),
        (b"\x82\x00", PROTOCOL),
        (b"\xf0\x00", PROTOCOL),
        (b"\x30\xff\xff\xff\x7f", TOO_LARGE),
        (b"\x30\x81\x80\x80\x01\x00\x01a\x00" + bytes(LARGEST - 3), TOO_LARGE),
    ],
)
def test_what_is_no_mqtt_is_refused_and_nothing_behind_it_is_read(packet: bytes, reason_code: int) -> None:
    before = mqtt5.PublishPacket("dev/plc/t", payload=b"1", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7)
    first, error = read([before.write() + packet + before.write()])
    assert first == before
    assert isinstance(error, PacketError)
    assert error.reason_code == reason_code


def test_text_of_the_broker_itself_that_is_not_utf8_is_malformed() -> None:
    [error] = read([b"\xe0\x06\x81\x04\x1f\x00\x01\xff"])
    assert isinstance(error, PacketError)
    assert error.reason_code == MALFORMED


def test_a_packet_in_many_pieces_is_not_parsed_again_for_each() -> None:
    """As large as we take, in the smallest pieces that a network makes: it costs as much as one in one piece."""
    packet = mqtt5.PublishPacket("dev/plc", payload=b"x" * (LARGEST - 20))
    data = packet.write()
    reader, fed = PacketReader(), 0
    for start in range(0, len(data), 1400):
        fed += len(list(reader.feed(data[start : start + 1400])))
    assert fed == 1
