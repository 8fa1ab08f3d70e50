"""What the gateways of a group tell each other, retained on `gateway/{group}/{member}`."""

from typing import Literal

import msgspec

from nexus.contract.codec import DecodeError


class Presence(msgspec.Struct, frozen=True):
    """One gateway: the devices (by path) that it has files for, and the `id`s of those that it has made room for.

    `id` is new with each start. `lost` is its last will: it may still be polling until its lease (seconds) has run out.
    """

    state: Literal["online", "lost"]
    id: str
    lease: float
    devices: frozenset[str] = frozenset()
    view: frozenset[str] = frozenset()


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Presence)


def encode_presence(presence: Presence) -> bytes:
    """Payload of a presence topic; an empty one says that the gateway has left."""
    return _encoder.encode(presence)


def decode_presence(payload: bytes) -> Presence:
    """Reads a presence topic's payload. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise DecodeError(str(error)) from error
