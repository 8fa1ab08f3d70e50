"""Totals of a device's derived tags, retained on `gateway/{group}/{member}/totals/{device path}` for whoever takes it
over.
"""

from math import isfinite
from typing import Literal

import msgspec

from nexus.contract.codec import DecodeError

TotalKind = Literal["total", "runtime", "count"]
Totals = dict[str, "Kept"]  # of a device, by tag


class Kept(msgspec.Struct):
    """What is kept of a total; `was` is whether what is counted was true last, `time` in epoch ms that of the last
    value.
    """

    kind: TotalKind
    value: float = 0.0
    was: bool | None = None
    time: int = 0


_encoder = msgspec.json.Encoder()
_of_device = msgspec.json.Decoder(dict[str, Kept])
_of_devices = msgspec.json.Decoder(dict[str, dict[str, Kept]])


def encode_totals(totals: Totals | dict[str, Totals]) -> bytes:
    """Encodes the totals of a device, or of several by path."""
    return _encoder.encode(totals)


def decode_totals(payload: bytes) -> Totals:
    """Decodes the totals of a device. Raises DecodeError."""
    try:
        return _finite(_of_device.decode(payload))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no totals of a device: {error}") from None


def decode_all_totals(data: bytes) -> dict[str, Totals]:
    """Decodes the totals of several devices, by path. Raises DecodeError."""
    try:
        return {path: _finite(totals) for path, totals in _of_devices.decode(data).items()}
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no totals of devices: {error}") from None


def merge(totals: Totals, others: Totals) -> None:
    """Takes over those of `others` that are newer."""
    for tag, kept in others.items():
        if tag not in totals or totals[tag].time < kept.time:
            totals[tag] = msgspec.structs.replace(kept)


def _finite(totals: Totals) -> Totals:
    if not all(isfinite(kept.value) for kept in totals.values()):
        raise ValueError("a total is infinite")
    return totals
