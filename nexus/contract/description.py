"""Descriptions of devices, retained on `device/{device path}`: endpoint, tags and their limits; never a secret."""

from typing import Annotated

import msgspec
from msgspec import Meta

from nexus.contract.alarm import Priority
from nexus.contract.codec import DecodeError

LARGEST_BYTES = 950_000  # our brokers accept a megabyte, the topic included
RULES = "rules"  # the protocol of a rule, which no gateway polls

_Ms = Annotated[int, Meta(ge=0, lt=2**53)]


class AlarmLimit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fixed limit of an alarm of the tag, in its unit; an alarm of values outside two limits has both."""

    name: str
    limit: float
    priority: Priority = "medium"


class AlarmLimitTag(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit of an alarm of the tag that is the value of `tag`, another of the device."""

    name: str
    tag: str
    priority: Priority = "medium"


class TagDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tag; `address` as its file writes it, `type` as its protocol calls it, `min` and `max` of what is written."""

    name: str
    address: str
    unit: str | None = None
    type: str | None = None
    writable: bool = False
    min: float | None = None
    max: float | None = None
    alarms: tuple[AlarmLimit, ...] = ()
    limit_tags: tuple[AlarmLimitTag, ...] = ()


class Description(msgspec.Struct, frozen=True):
    """One device; `interval` of its fastest tags, in seconds; `ts` in epoch ms.

    `gateway` is the member of `group` that polls it; older gateways do not say of which group (None). `left_out` is how
    many tags more it has than fit into a message. A rule has no `endpoint`, and an `interval` of 0.
    """

    name: str
    path: str
    protocol: str
    gateway: str
    endpoint: str
    interval: float
    publish: str
    tags: tuple[TagDescription, ...]
    ts: _Ms
    left_out: int = 0
    group: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Description)


def encode_description(description: Description, most: int = LARGEST_BYTES) -> bytes:
    """Payload of a description's topic, of at most so many bytes: the last tags are left out of a larger one."""
    tags = description.tags
    payload = _encoder.encode(description)
    while len(payload) > most and tags:
        tags = tags[: len(tags) * most // len(payload)]
        left_out = len(description.tags) - len(tags)
        payload = _encoder.encode(msgspec.structs.replace(description, tags=tags, left_out=left_out))
    return payload


def decode_description(payload: bytes) -> Description:
    """Reads a description. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no description of a device: {error}") from None
