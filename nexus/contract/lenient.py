"""Payloads that the typed decoder refused: each part is read separately, so that a bad one affects only its own tag."""

from collections.abc import Mapping
from typing import Any

import msgspec

from nexus.contract import sequence

_GOOD = msgspec.Raw(b'"good"')


class _In(msgspec.Struct, gc=False):
    v: msgspec.Raw
    ts: int | float
    q: msgspec.Raw = _GOOD
    u: msgspec.Raw = sequence.NOTHING
    t: msgspec.Raw = sequence.NOTHING
    p: msgspec.Raw = sequence.NOTHING
    n: msgspec.Raw = sequence.NOTHING
    m: msgspec.Raw = sequence.NOTHING


_decoder = msgspec.json.Decoder(_In)
_tags_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value_decoder = msgspec.json.Decoder(float | int | bool | str | None)
_quality_decoder = msgspec.json.Decoder(str | int)
_unit_decoder = msgspec.json.Decoder(str | None)
_time_decoder = msgspec.json.Decoder(int | float)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

# The message's v, ts, q, u, t, p, n and m, and why tags cannot be read.
Parts = tuple[list[Any], dict[str, str]]


def read(payload: bytes) -> Parts | None:
    """The readable part of a payload, or None if there is none."""
    try:
        message = _decoder.decode(payload)
        numbers = sequence.loosely(message.p, message.n, message.m)
        if bytes(message.v)[:1] != b"{":
            value, quality = _value_decoder.decode(message.v), _quality_decoder.decode(message.q)
            return [value, message.ts, quality, _unit_decoder.decode(message.u), None, *numbers], {}
        tags = _tags_decoder.decode(message.v)
        said = [_by_tag(raw) for raw in (message.q, message.u, message.t)]
    except _UNREADABLE:
        return None
    values, wrong = _each(tags, _value_decoder)
    found: list[Any] = []
    for raws, decoder in zip(said, (_quality_decoder, _unit_decoder, _time_decoder), strict=True):
        read_ones, unread = _each({tag: raw for tag, raw in raws.items() if tag in values}, decoder)
        found.append(read_ones)
        for tag, why in unread.items():
            del values[tag]
            wrong[tag] = why
    qualities, units, times = found
    units = {tag: unit for tag, unit in units.items() if unit is not None}
    return [values, message.ts, qualities, units, {tag: int(time) for tag, time in times.items()}, *numbers], wrong


def _by_tag(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return {} if bytes(raw) in (b"null", b'"good"') else _tags_decoder.decode(raw)


def _each(raws: Mapping[str, msgspec.Raw], decoder: msgspec.json.Decoder[Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The readable values by tag, and why the others cannot be read."""
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for tag, raw in raws.items():
        try:
            found[tag] = decoder.decode(raw)
        except _UNREADABLE as error:
            wrong[tag] = str(error)
    return found, wrong
