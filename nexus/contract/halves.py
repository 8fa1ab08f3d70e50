"""Splits a device message that is too large for a broker into two with half the readings each."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class _Whole(msgspec.Struct, omit_defaults=True):
    """A device message; what belongs to a tag stays as it was encoded."""

    ts: msgspec.Raw
    v: dict[str, msgspec.Raw]
    q: dict[str, msgspec.Raw] = {}
    u: dict[str, msgspec.Raw] = {}
    t: dict[str, msgspec.Raw] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Whole)


def halves(payload: bytes, readings: int) -> list[tuple[bytes, int]] | None:
    """Two payloads with the readings in their order, and how many are in each; None for what cannot be divided."""
    try:
        whole = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(whole.v) != readings or readings < 2:
        return None
    tags = list(whole.v)
    parts = tags[: readings // 2], tags[readings // 2 :]
    return [(_encoder.encode(_part(whole, part)), len(part)) for part in parts]


def _part(whole: _Whole, tags: list[str]) -> _Whole:
    return _Whole(whole.ts, *(_only(kept, tags) for kept in (whole.v, whole.q, whole.u, whole.t)))


def _only(kept: dict[str, T], tags: list[str]) -> dict[str, T]:
    return {tag: kept[tag] for tag in tags if tag in kept}
