"""Finds text in a PUBLISH that is not UTF-8. Pure.

A broker that does not look, as EMQX 5.8 at user properties, passes on what any client sends it. Such a message must
cost itself only, while `mqtt5` 0.8 ends in a Rust panic that says neither where the packet ends nor what its id is.
"""

_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}  # of properties whose values are numbers
_TEXTS = {0x03: 1, 0x08: 1, 0x26: 2}  # content type, response topic, user property: how many texts follow
_BYTES, _VARIABLE = 0x09, 0x0B  # correlation data, subscription identifier


def unreadable(data: bytes, at: int) -> tuple[int | None, int, str] | None:
    """Packet id, end and fault of the PUBLISH at `at`, if its text is all that is wrong with it as far as we see."""
    try:
        return None if _is_plain(data, at) else _fault(data, at)
    except IndexError:  # incomplete, or shorter than it claims
        return None


def _is_plain(data: bytes, at: int) -> bool:
    """Whether its topic is ASCII, and no properties follow: nearly all are like this."""
    body = at + 2
    while data[body - 1] > 127:
        body += 1
    end = body + 2 + (data[body] << 8 | data[body + 1])
    return data[body + 2 : end].isascii() and not data[end + 2 if data[at] & 6 else end]


def _fault(data: bytes, at: int) -> tuple[int | None, int, str] | None:
    if (found := variable(data, at + 1)) is None:
        return None
    size, body = found
    after, topic = body + size, body + 2
    middle = topic + int.from_bytes(data[body:topic], "big")
    head = middle + 2 if data[at] & 6 else middle
    if after > len(data) or head >= after or (properties := variable(data, head)) is None:
        return None
    packet_id = int.from_bytes(data[middle:head], "big") if head > middle else None
    length, start = properties
    if packet_id == 0 or start + length > after:
        return None
    try:
        data[topic:middle].decode()
        _decode(data[start : start + length])
    except UnicodeDecodeError as error:
        return packet_id, after, f"a message with text that is not UTF-8: {error.object[:100]!r}"
    return None


def variable(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer of up to four bytes, and where it ends; None if it does not."""
    value = 0
    for index, byte in enumerate(data[at : at + 4]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    return None


def _decode(properties: bytes) -> None:
    """Raises UnicodeDecodeError. Properties that end early or are unknown are left to the parser."""
    if properties.isascii():
        return
    at, end = 0, len(properties)
    while at < end:
        name, at = properties[at], at + 1
        if name == _VARIABLE:
            if (found := variable(properties, at)) is None:
                return
            at = found[1]
        elif name == _BYTES or name in _TEXTS:
            for _ in range(_TEXTS.get(name, 1)):
                start = at + 2
                at = start + int.from_bytes(properties[at:start], "big")
                if name != _BYTES:
                    properties[start:at].decode()
        elif name in _SIZES:
            at += _SIZES[name]
        else:
            return
