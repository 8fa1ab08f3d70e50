"""The state of a device, retained on `status/{device path}`."""

from typing import Literal

import msgspec

from nexus.contract.codec import DecodeError

State = Literal["online", "degraded", "offline"]

# What kind of trouble a device has, where its driver knows: people are told by it what to do.
TroubleKind = Literal[
    "",
    "refused",  # nothing listens at its address
    "timeout",
    "unreachable",
    "unknown-host",
    "closed",  # it closes connections at once
    "certificate",
    "login",
    "address",  # it has no such address
    "block",  # S7: no such bytes, or a block with optimized access
    "put-get",  # S7: not permitted
    "tags",  # some cannot be read, for several reasons or an unknown one
    "removed",  # it has left the files
]


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of a device; `ts` in UTC epoch milliseconds.

    `kind` is a TroubleKind, or one of a later version; empty where the reason has none.
    """

    state: State
    reason: str
    ts: int
    kind: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Status)


def encode_status(status: Status) -> bytes:
    """Payload of a status topic."""
    return _encoder.encode(status)


def decode_status(payload: bytes) -> Status:
    """Reads a status topic's payload. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a state of a device: {error}") from None
