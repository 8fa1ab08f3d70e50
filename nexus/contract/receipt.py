"""Receipts for committed messages (`receipt/{publisher}`), and the offer to send them (`receipt-offer/{group}`)."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from nexus.contract.codec import DecodeError

OFFER = b'{"state":"online"}'
LARGEST_NUMBER = 2**53 - 1  # the largest integer that every JSON parser keeps exactly
_MOST_RANGES = 10_000

_Number = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_NUMBER)]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Annotated[list[tuple[_Number, _Number]], msgspec.Meta(max_length=_MOST_RANGES)])


def encode_receipt(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Encodes ranges of numbers, first and last, that are in the database."""
    return _encoder.encode(list(ranges))


def decode_receipt(payload: bytes) -> list[tuple[int, int]]:
    """Reads a receipt: ranges within 1 and 2^53 - 1 that do not end before they begin. Raises DecodeError."""
    try:
        ranges: list[tuple[int, int]] = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from error
    for first, last in ranges:
        if last < first:
            raise DecodeError(f"a range ends before it begins: {first} to {last}")
    return ranges
