"""OPC UA values as ours, and ours as theirs."""

import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Any, Literal
from uuid import UUID

from asyncua import ua

from gateway.driver import Tag, WriteError
from nexus.contract.reading import Quality, Reading, Value

Clock = Literal["source", "server", "gateway"]

_QUALITIES = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)  # by the top two bits of the status
_RANGES = {
    kind: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    for kind, bits, signed in (
        (ua.VariantType.SByte, 8, True),
        (ua.VariantType.Byte, 8, False),
        (ua.VariantType.Int16, 16, True),
        (ua.VariantType.UInt16, 16, False),
        (ua.VariantType.Int32, 32, True),
        (ua.VariantType.UInt32, 32, False),
        (ua.VariantType.Int64, 64, True),
        (ua.VariantType.UInt64, 64, False),
    )
}
_FLOATS = frozenset((ua.VariantType.Float, ua.VariantType.Double))
_LARGEST_FLOAT = 3.4028234663852886e38
# Bits of a status code: it is about a data value; the server's queue was full, and values before this one are lost.
_DATA_VALUE, _OVERFLOW = 0x0400, 0x0080
_EARLIEST_MS = 631_152_000_000  # 1990: OPC UA's clock starts in 1601, and devices' without a battery in 1970
_AHEAD_MS = 3_600_000


def reading(tag: Tag, data: ua.DataValue, clock: Clock, refused: Callable[[str], None]) -> Reading:
    """A reading of what the server said; why a value is bad or uncertain goes to `refused`.

    Uncertain is also a value before which others were lost, and one whose time cannot be right: it gets our own.
    """
    status = data.StatusCode
    quality = _QUALITIES[status.value >> 30] if status is not None else Quality.GOOD
    now = int(time() * 1000)
    moment = _time(data, clock, now)
    if not _EARLIEST_MS <= moment <= now + _AHEAD_MS:
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


def _time(data: ua.DataValue, clock: Clock, now: int) -> int:
    moment: datetime | None = None
    if clock != "gateway":
        moment = data.SourceTimestamp if clock == "source" else None
        moment = moment or data.ServerTimestamp
    if moment is None:
        return now
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _value(value: Any) -> Value:
    """Raises TypeError for what is no single value."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ua.LocalizedText):
        return str(value.Text)
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
    if kind == ua.VariantType.Boolean and isinstance(value, bool):
        return ua.Variant(value, kind)
    if kind == ua.VariantType.String and isinstance(value, str):
        return ua.Variant(value, kind)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind in _RANGES:
            return ua.Variant(_whole(value, kind), kind)
        if kind in _FLOATS:
            return ua.Variant(_finite(value, kind), kind)
    raise WriteError(f"{_shown(value)} cannot be written to a {kind.name}")


def _whole(value: float, kind: ua.VariantType) -> int:
    low, high = _RANGES[kind]
    # Scaling back leaves a little noise, and nothing more is rounded away.
    is_whole = isinstance(value, int) or (math.isfinite(value) and abs(value - round(value)) <= 1e-6)
    nearest = round(value) if is_whole else None
    if nearest is None or not low <= nearest <= high:
        raise WriteError(f"{_shown(value)} cannot be written to a {kind.name}: a whole number from {low} to {high}")
    return nearest


def _finite(value: float, kind: ua.VariantType) -> float:
    limit = _LARGEST_FLOAT if kind == ua.VariantType.Float else sys.float_info.max
    if not abs(value) <= limit:
        raise WriteError(f"{_shown(value)} cannot be written to a {kind.name}: it is not finite, or too large")
    return float(value)


def _shown(value: Value) -> str:
    """A value in an error, of a bounded length."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "an integer of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
