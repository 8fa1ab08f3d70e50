"""Converts OPC UA values to ours, and back."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from asyncua import ua

from gateway.commands.encoding import packed, shown, text, truth
from gateway.drivers.driver import Tag, WriteError
from gateway.drivers.opcua.address import Address
from nexus.contract.reading import Quality, Reading, Value
from nexus.process.clock import now_ms

Clock = Literal["source", "server", "gateway"]

_QUALITIES = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)  # by the top two bits of the status
_LAYOUTS = {
    ua.VariantType.SByte: "<b",
    ua.VariantType.Byte: "<B",
    ua.VariantType.Int16: "<h",
    ua.VariantType.UInt16: "<H",
    ua.VariantType.Int32: "<i",
    ua.VariantType.UInt32: "<I",
    ua.VariantType.Int64: "<q",
    ua.VariantType.UInt64: "<Q",
    ua.VariantType.Float: "<f",
    ua.VariantType.Double: "<d",
}
# Bits of a status code: the info bits concern a data value; the server's queue overflowed, and earlier values are lost.
_DATA_VALUE, _OVERFLOW = 0x0400, 0x0080
LONGEST_TEXT = 65_536  # characters; it travels with each change, and beside the device's other tags
_EARLIEST_MS = 631_152_000_000  # 1990: OPC UA's clock starts in 1601, and devices' without a battery in 1970
_AHEAD_MS = 3_600_000


def reading(tag: Tag[Address], data: ua.DataValue, clock: Clock, refused: Callable[[str], None]) -> Reading:
    """A reading of what the server said; why a value is bad or uncertain goes to `refused`.

    Uncertain is also a value before which others were lost, and one whose time cannot be right: it gets our own.
    """
    status = data.StatusCode
    quality = _QUALITIES[status.value >> 30] if status is not None else Quality.GOOD
    now = now_ms()
    moment = _time(data, clock, now)
    if not _can_be(moment, now):
        if quality == Quality.GOOD:
            quality = Quality.UNCERTAIN
            refused("its time cannot be right: set `clock: server` or `clock: gateway`")
        moment = now
    if status is not None and status.value & _DATA_VALUE and status.value & _OVERFLOW and quality == Quality.GOOD:
        quality = Quality.UNCERTAIN
        refused("the server's queue was full, and lost values before this one: raise `queue`")
    if quality == Quality.BAD:
        refused(status.name if status is not None else "")
        return Reading(tag.name, moment, None, quality)
    try:
        value = _value(data.Value.Value if data.Value is not None else None)
    except TypeError as error:
        refused(str(error))
        return Reading(tag.name, moment, None, Quality.BAD)
    made = tag.reading(value, moment)
    return made if quality == Quality.GOOD else Reading(made.tag, moment, made.value, quality)


def unfit(data: ua.DataValue) -> str | None:
    """Why the value cannot be a reading; None if it can."""
    try:
        _value(data.Value.Value if data.Value is not None else None)
    except TypeError as error:
        return str(error)
    return None


def server_time(data: ua.DataValue, clock: Clock, now: int) -> int:
    """When the server looked at the value; `now`, our own clock's, where its clock is not to be used or not right."""
    moment = _ms(data.ServerTimestamp) if clock != "gateway" else None
    return moment if moment is not None and _can_be(moment, now) else now


def _can_be(moment: int, now: int) -> bool:
    return _EARLIEST_MS <= moment <= now + _AHEAD_MS


def _time(data: ua.DataValue, clock: Clock, now: int) -> int:
    moment: datetime | None = None
    if clock != "gateway":
        moment = data.SourceTimestamp if clock == "source" else None
        moment = moment or data.ServerTimestamp
    found = _ms(moment)
    return now if found is None else found


def _ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _value(value: Any) -> Value:
    """Raises TypeError for what is no single value, or a text that no message should carry."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = _text(value)
    if text is None:
        return None
    text = readable(text)
    if len(text) > LONGEST_TEXT:
        raise TypeError(f"a text of {len(text):,} characters: at most {LONGEST_TEXT:,} are published")
    return text


def readable(text: str) -> str:
    """A server's text; those that know no UTF-8 use Latin-1, of which the library leaves what nobody can encode."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ua.LocalizedText):
        return None if value.Text is None else str(value.Text)
    if isinstance(value, ua.NodeId | ua.QualifiedName):
        return str(value.to_string())
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    kind = "an array" if isinstance(value, list) else "a structure"
    raise TypeError(f"{kind}: name one element's own node")


def variant(value: Value, kind: ua.VariantType) -> ua.Variant:
    """A value in the type that the node has. Raises WriteError when it is of another type, or does not fit."""
    if kind == ua.VariantType.Boolean:
        return ua.Variant(truth(value, kind.name), kind)
    if kind == ua.VariantType.String:
        return ua.Variant(text(value, kind.name), kind)
    if (layout := _LAYOUTS.get(kind)) is not None:
        data = packed(layout, value, kind.name)
        return ua.Variant(struct.unpack(layout, data)[0], kind)
    raise WriteError(f"{shown(value)} cannot be written to a {kind.name}")


def held(written: ua.Variant) -> Value:
    """The value that a server holds after it has accepted this one."""
    return _value(written.Value)
