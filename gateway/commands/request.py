"""Reads commands strictly: each is a valid request, or is refused with what would be right. Pure."""

from dataclasses import dataclass
from math import isfinite

from msgspec import UNSET, UnsetType

from gateway.commands.encoding import shown
from gateway.drivers.driver import Tag, WriteError
from nexus.contract import command
from nexus.contract.codec import DecodeError
from nexus.contract.command import LONGEST_NAME
from nexus.contract.reading import Value
from nexus.mqtt import Message
from nexus.requests.answering import sender

VALID_SECONDS = 10.0  # after the request was made; an older one may no longer be what anybody wants
_LARGEST_INTEGER = 2**64


@dataclass(frozen=True, slots=True)
class Request:
    """`value` in the tag's unit; `by` says who asks, as far as anybody said so; valid for `seconds` from now.

    With `expected` it is written only while the tag has that value.
    """

    value: Value
    by: str | None
    seconds: float
    expected: Value | UnsetType = UNSET


def parse(message: Message, now_ms: float) -> Request:
    """Reads a command. Raises WriteError if it must not be executed; the text is for the requester."""
    if message.retain:
        # The broker would keep it, and it would be executed again by whoever does not refuse it.
        raise WriteError("a retained request is not executed: publish it without the retain flag, and clear the topic")
    payload = _decoded(message.payload)
    for value in (payload.v, payload.ts, payload.expected):
        if value is not UNSET and not _is_sayable(value):
            raise WriteError(f"{shown(value)} is larger than anything a device holds")
    by = sender(message)
    by = by if by is not None else payload.by
    if by is not None and (not by.isprintable() or len(by) > LONGEST_NAME):
        raise WriteError(f"`by` is a name of up to {LONGEST_NAME} printable characters")
    return Request(payload.v, by, _seconds(payload.ts, message.message_expiry_interval, now_ms), payload.expected)


def _decoded(payload: bytes) -> command.Request:
    try:
        return command.decode_request(payload)
    except DecodeError as error:
        raise WriteError(str(error)) from None


def _is_sayable(value: Value) -> bool:
    if isinstance(value, int):
        return abs(value) <= _LARGEST_INTEGER
    return not isinstance(value, float) or isfinite(value)


def _seconds(asked_ms: float | None, expiry: int | None, now_ms: float) -> float:
    """How many seconds the request is still valid."""
    valid = VALID_SECONDS if expiry is None else min(VALID_SECONDS, float(expiry))
    if asked_ms is None:
        return valid
    age = (now_ms - asked_ms) / 1000
    if not abs(age) <= VALID_SECONDS:
        when = f"{age:.6g} s ago" if age > 0 else f"in {-age:.6g} s"
        raise WriteError(
            f"the request was made {when} by its `ts`, and is valid for {VALID_SECONDS:g} s: "
            "ask again, or compare the two clocks"
        )
    return min(valid, VALID_SECONDS - age)


def check(tag: Tag, value: Value) -> None:
    """Raises WriteError when the tag may not be written, or not with this value."""
    if not tag.writable:
        raise WriteError(f"tag {tag.name} is not marked `writable: true` in the device file")
    if isinstance(value, float) and not isfinite(value):
        raise WriteError(f"{shown(value)} is not a finite number")
    if tag.low is None and tag.high is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WriteError(f"{shown(value)} is not a number, and tag {tag.name} has limits")
    if (tag.low is not None and value < tag.low) or (tag.high is not None and value > tag.high):
        low, high = ("any" if limit is None else f"{limit:g}" for limit in (tag.low, tag.high))
        raise WriteError(f"{shown(value)} is outside the limits of tag {tag.name}: {low} to {high}")
