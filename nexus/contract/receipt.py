"""What ingesters say of committed messages: `receipt/{publisher}`, and `receipt-offer/{share}` that there are any."""

from collections.abc import Iterable

import msgspec

from nexus.contract.codec import DecodeError

OFFER = b'{"state":"online"}'

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[tuple[int, int]])


def encode_receipt(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges of numbers, first and last, that are in the database."""
    return _encoder.encode(list(ranges))


def decode_receipt(payload: bytes) -> list[tuple[int, int]]:
    """Reads a receipt. Raises DecodeError."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise DecodeError(str(error)) from error
