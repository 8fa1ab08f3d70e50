"""What a PUBLISH and a PUBACK of MQTT 5 say. Pure; whatever is wrong with the bytes is a PacketError."""

from typing import NamedTuple

LARGEST = 2 * 1024 * 1024  # bytes; we tell the broker, which keeps what is larger from us
CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 11, 13, 14
FOR_PAHO = frozenset((CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT))


class PacketError(Exception):
    """What came is not MQTT, and nothing that follows on the connection can be believed."""


class Publish(NamedTuple):
    """A message as it came; `mid` is 0 for QoS 0. `properties` are as they travel, without their length."""

    topic: bytes
    payload: bytes
    mid: int
    retained: bool
    properties: bytes


class Properties(NamedTuple):
    """From a message's properties: where an answer is wanted, who asks, and for how many seconds it is valid."""

    answer_to: str | None = None
    correlation: bytes | None = None
    by: str | None = None
    expiry: int | None = None


NOTHING = Properties()


def head(data: bytearray, at: int, end: int) -> tuple[int, int] | None:
    """Where a packet's body begins and where it ends; None while even that has not come. Raises PacketError."""
    size, shift, body = 0, 0, at + 1
    while body < end:
        byte = data[body]
        size |= (byte & 127) << shift
        body += 1
        if byte < 128:
            if size > LARGEST:
                raise PacketError(f"a packet of {size} bytes")
            return body, body + size
        shift += 7
        if shift > 21:
            raise PacketError("a packet's length has more than four bytes")
    return None


def publish(data: bytearray, first: int, body: int, after: int) -> Publish:
    """The message whose first byte is `first` and whose body is data[body:after]. Raises PacketError."""
    qos = first & 6
    start = body + 2
    at = start + (data[body] << 8 | data[body + 1]) if start <= after else after + 1
    middle = at + 2 if qos else at
    if middle >= after or at == start or qos > 2 or (first & 8 and not qos):
        raise PacketError(f"a PUBLISH of {after - body} bytes with flags {first & 15:04b}")
    mid = data[at] << 8 | data[at + 1] if qos else 0
    if qos and not mid:
        raise PacketError("a PUBLISH with packet id 0")
    size = data[middle]
    middle += 1
    if size > 127:
        size, middle = _length(data, middle - 1, after)
    payload = middle + size
    if payload > after:
        raise PacketError("a PUBLISH whose properties are longer than it is")
    return Publish(bytes(data[start:at]), bytes(data[payload:after]), mid, bool(first & 1), bytes(data[middle:payload]))


def puback(data: bytearray, first: int, body: int, after: int) -> tuple[int, int]:
    """Packet id and reason code. Raises PacketError."""
    size = after - body
    if size < 2 or first & 15:
        raise PacketError(f"a PUBACK of {size} bytes with flags {first & 15:04b}")
    mid = data[body] << 8 | data[body + 1]
    if not mid:
        raise PacketError("a PUBACK for packet id 0")
    if size > 3:
        length, at = _length(data, body + 3, after)
        if at + length != after:
            raise PacketError("a PUBACK whose properties are not as long as they say")
    return mid, data[body + 2] if size > 2 else 0


def properties(packed: bytes) -> Properties:
    """What a message's properties say. Raises PacketError."""
    if not packed:
        return NOTHING
    found: dict[int, object] = {}
    by: str | None = None
    at, end = 0, len(packed)
    try:
        while at < end:
            name = packed[at]
            at += 1
            if name == _USER_PROPERTY:
                key, at = _text(packed, at)
                value, at = _text(packed, at)
                by = value if key == "by" and by is None else by
                continue
            one, at = _value(packed, name, at)
            if name in found:
                raise PacketError(f"property {name:#04x} twice")
            found[name] = one
    except UnicodeDecodeError:
        raise PacketError("a property that is not UTF-8") from None
    return Properties(found.get(8), found.get(9), by, found.get(2))  # type: ignore[arg-type]


_USER_PROPERTY = 0x26
_NUMBERS = {0x01: 1, 0x02: 4}  # payload format, message expiry: their bytes
_TEXTS = frozenset((0x03, 0x08))  # content type, response topic
_BYTES, _SUBSCRIPTION = 0x09, 0x0B  # correlation data, subscription identifier


def _value(packed: bytes, name: int, at: int) -> tuple[object, int]:
    if (size := _NUMBERS.get(name)) is not None:
        if at + size > len(packed):
            raise PacketError(f"property {name:#04x} is cut short")
        return int.from_bytes(packed[at : at + size], "big"), at + size
    if name in _TEXTS:
        return _text(packed, at)
    if name == _BYTES:
        return _bytes(packed, at)
    if name == _SUBSCRIPTION:
        return _length(packed, at, len(packed))
    raise PacketError(f"property {name:#04x} in a PUBLISH")


def _bytes(packed: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    after = start + int.from_bytes(packed[at:start], "big")
    if start > len(packed) or after > len(packed):
        raise PacketError("a property is cut short")
    return packed[start:after], after


def _text(packed: bytes, at: int) -> tuple[str, int]:
    data, after = _bytes(packed, at)
    return data.decode(), after


def _length(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """A variable byte integer, and where it ends."""
    size = shift = 0
    while at < end and shift <= 21:
        byte = data[at]
        size |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return size, at
        shift += 7
    raise PacketError("a length that does not end")


def pack_length(size: int) -> bytes:
    """A variable byte integer."""
    found = bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size])


def outgoing(correlation: bytes | None, expiry: int) -> bytes:
    """The properties of a message that goes, with their length; `expiry` in seconds, 0 for never."""
    packed = b"\x02" + expiry.to_bytes(4, "big") if expiry else b""
    if correlation is not None:
        packed += b"\x09" + len(correlation).to_bytes(2, "big") + correlation
    return pack_length(len(packed)) + packed
