"""The state of a gateway, retained on `gateway/{group}/{member}/state`, and published again every EVERY_SECONDS."""

from typing import Annotated

import msgspec
from msgspec import Meta

from nexus.contract.codec import DecodeError

EVERY_SECONDS = 5.0

_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Number = Annotated[float, Meta(ge=0)]


class DeviceFiles(msgspec.Struct, frozen=True):
    """Its device files: a digest of what is on disk, whether they may be changed through the broker, what is wrong."""

    digest: str
    writable: bool
    error: str | None = None


class GatewayState(msgspec.Struct, frozen=True):
    """`devices` are those that it polls; `lateness_p99` and `spool_full_in` in seconds, the times in epoch ms.

    `spool_full_in` is None while the spool does not grow, `lateness_p99` while nothing is polled.
    """

    version: str
    devices: _Count
    readings_per_second: _Number
    lateness_p99: _Number | None
    spool_messages: _Count
    spool_bytes: _Count
    spool_full_in: _Number | None
    receipts_outstanding: _Count
    connected_since: _Count
    files: DeviceFiles
    ts: _Count


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(GatewayState)


def encode_gateway_state(state: GatewayState) -> bytes:
    """Payload of a gateway's state."""
    return _encoder.encode(state)


def decode_gateway_state(payload: bytes) -> GatewayState:
    """Reads a gateway's state. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no state of a gateway: {error}") from None
