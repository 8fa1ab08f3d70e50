"""WebSocket frames as bytes (RFC 6455): from a server they are the same for all clients. Pure."""

from collections.abc import Iterable
from struct import pack

import msgspec

_TEXT = 0x81  # a whole message

_encode = msgspec.json.Encoder().encode


def text(payload: bytes) -> bytes:
    """One message of text."""
    size = len(payload)
    if size < 126:
        return pack(">BB", _TEXT, size) + payload
    return (pack(">BBH", _TEXT, 126, size) if size < 65_536 else pack(">BBQ", _TEXT, 127, size)) + payload


def values(rows: Iterable[bytes]) -> bytes:
    """`{"values": […]}` of rows that are JSON already."""
    return text(b'{"values":[%b]}' % b",".join(rows))


def devices(rows: Iterable[bytes]) -> bytes:
    """`{"devices": […]}` likewise."""
    return text(b'{"devices":[%b]}' % b",".join(rows))


def alarms(rows: Iterable[bytes]) -> bytes:
    """`{"alarms": […]}` likewise."""
    return text(b'{"alarms":[%b]}' % b",".join(rows))


def gap(start: str, end: str | None, reason: str) -> bytes:
    """What was published between these times has not all been sent; without an end it goes on."""
    return text(_encode({"gap": {"from": start, "to": end, "reason": reason}}))


def error(reason: str) -> bytes:
    """What the client asked for cannot be had."""
    return text(_encode({"error": reason}))
