"""What a broker sends is read as MQTT, or ends the connection: nothing in between, and nothing twice."""

import asyncio
import socket
from contextlib import suppress
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.runtime import packets
from nexus.runtime.packets import PacketError, Publish
from nexus.runtime.wire import Wire

TOPIC = b"dev/plc/t"
FOR_PAHO = [b"\x20\x03\x00\x00\x00", b"\x90\x04\x00\x01\x00\x01", b"\xd0\x00", b"\xe0\x01\x8b"]


class Line:
    """A socket that gives what is put into it, a piece a read."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def recv(self, _: int) -> bytes:
        return self.pieces.pop(0)

    def setsockopt(self, *_: object) -> None:
        pass


class Reader:
    """A wire, and what it hands out."""

    def __init__(self) -> None:
        self.line = Line()
        self.out: list[object] = []
        self.theirs = b""
        self.wire = Wire(
            cast("socket.socket", self.line),
            cast("asyncio.AbstractEventLoop", None),
            self.out.append,
            lambda mid, code: self.out.append((mid, code)),
            self._paho,
        )

    def _paho(self) -> None:
        self.theirs += self.wire.recv(1 << 20)

    def read(self, pieces: list[bytes]) -> None:
        for piece in filter(None, pieces):
            self.line.pieces.append(piece)
            self.wire.read()


def publish(topic: bytes, payload: bytes, mid: int, *, retained: bool = False, properties: bytes = b"") -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if mid else b"")
    body += packets.pack_length(len(properties)) + properties + payload
    return bytes([0x30 | bool(mid) << 1 | retained]) + packets.pack_length(len(body)) + body


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[one:other] for one, other in pairwise(places)]


published = st.builds(
    Publish,
    topic=st.binary(min_size=1, max_size=200),
    payload=st.binary(max_size=300),
    mid=st.integers(0, 65535),
    retained=st.booleans(),
    properties=st.binary(max_size=200),
)
acknowledged = st.tuples(st.integers(1, 65535), st.integers(0, 255))
places = st.lists(st.integers(0, 5000), max_size=20)


def packed(item: object) -> bytes:
    if isinstance(item, Publish):
        return publish(item.topic, item.payload, item.mid, retained=item.retained, properties=item.properties)
    if isinstance(item, tuple):
        return b"\x40\x03" + item[0].to_bytes(2, "big") + bytes([item[1]])
    return cast("bytes", item)


@given(st.lists(published | acknowledged | st.sampled_from(FOR_PAHO), max_size=8), places)
def test_packets_come_whole_and_in_order_however_they_are_cut(items: list[object], at: list[int]) -> None:
    reader = Reader()
    reader.read(cut(b"".join(map(packed, items)), at))
    assert reader.out == [item for item in items if not isinstance(item, bytes)]
    assert reader.theirs == b"".join(item for item in items if isinstance(item, bytes))


@given(st.lists(published | acknowledged, max_size=4), st.binary(max_size=200), places)
def test_whatever_follows_what_came_whole_is_given_once(items: list[object], noise: bytes, at: list[int]) -> None:
    reader = Reader()
    with suppress(PacketError):  # and nothing else
        reader.read(cut(b"".join(map(packed, items)) + noise, at))
    assert reader.out[: len(items)] == items


@given(published, st.integers(0, 1000), st.integers(0, 255), places)
def test_one_wrong_byte_gives_at_most_another_message(one: Publish, where: int, byte: int, at: list[int]) -> None:
    data = bytearray(packed(one))
    data[where % len(data)] = byte
    reader = Reader()
    try:
        reader.read(cut(bytes(data), at))
    except PacketError:
        return
    for found in reader.out:
        assert len(found) < 5 or found.topic  # type: ignore[arg-type,attr-defined]


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (b"\x40\x00", "a PUBACK of 0 bytes"),
        (b"\x40\x01\x00", "a PUBACK of 1 bytes"),
        (b"\x40\x02\x00\x00", "packet id 0"),
        (b"\x42\x02\x00\x01", "flags 0010"),
        (b"\x40\x04\x00\x01\x00\x05", "properties are not as long"),
        (b"\x40\x04\x00\x01\x00\x80", "a length that does not end"),
        (b"\x32\x00", "a PUBLISH of 0 bytes"),
        (b"\x32\x01\x00", "a PUBLISH of 1 bytes"),
        (b"\x32\x04\x00\x09ab", "a PUBLISH of 4 bytes"),
        (b"\x30\x02\x00\x00", "a PUBLISH of 2 bytes"),
        (b"\x30\x03\x00\x00\x00", "a PUBLISH of 3 bytes"),
        (b"\x32\x06\x00\x01a\x00\x00\x00", "packet id 0"),
        (b"\x32\x05\x00\x01a\x00\x01", "a PUBLISH of 5 bytes"),
        (b"\x32\x06\x00\x01a\x00\x01\x05", "properties are longer"),
        (b"\x32\x06\x00\x01a\x00\x01\xff", "a length that does not end"),
        (b"\x34\x06\x00\x01a\x00\x01\x00", "flags 0100"),
        (b"\x36\x06\x00\x01a\x00\x01\x00", "flags 0110"),
        (b"\x38\x04\x00\x01a\x00", "flags 1000"),
        (b"\x30\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x30\xff\xff\xff\x7f", "a packet of 268435455 bytes"),
        (b"\x50\x02\x00\x01", "begins with 0x50"),
        (b"\x00\x00", "begins with 0x0"),
        (b"\xf0\x00", "begins with 0xf0"),
        (b"\x91\x00", "begins with 0x91"),
    ],
)
def test_what_is_no_mqtt_is_refused_and_nothing_behind_it_is_read(packet: bytes, said: str) -> None:
    reader, whole = Reader(), publish(TOPIC, b"1", 7)
    with pytest.raises(PacketError, match=said):
        reader.read([whole + packet + whole])
    assert [one.mid for one in cast("list[Publish]", reader.out)] == [7]


def test_properties_say_who_asks_and_where_the_answer_goes() -> None:
    found = packets.properties(
        b"\x01\x01\x02\x00\x00\x00\x1e\x08\x00\x08answer/a\x09\x00\x01\xff\x26\x00\x02by\x00\x04anna\x26\x00\x01a\x00\x01b"
    )
    assert found == ("answer/a", b"\xff", "anna", 30)
    assert packets.properties(b"") == (None, None, None, None)


@pytest.mark.parametrize(
    "properties",
    [
        *(
            b"\x08",
            b"\x08\x00",
            b"\x08\x00\x05abc",
            b"\x02\x00",
            b"\x26\x00\x01a",
            b"\x99",
            b"\x0b\xff",
            b"\x08\x00\x01\xff",
        ),
        b"\x09\x00\x00" * 2,
    ],
)
def test_broken_properties_are_refused(properties: bytes) -> None:
    with pytest.raises(PacketError):
        packets.properties(properties)


@given(st.binary(max_size=100))
def test_properties_are_read_or_refused(properties: bytes) -> None:
    with suppress(PacketError):
        packets.properties(properties)
