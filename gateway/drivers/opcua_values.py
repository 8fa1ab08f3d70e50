"""OPC UA values as ours, and ours as theirs."""

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
_INTEGERS = frozenset(
    getattr(ua.VariantType, name) for name in ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
)
_FLOATS = frozenset((ua.VariantType.Float, ua.VariantType.Double))


def reading(tag: Tag, data: ua.DataValue, clock: Clock, refused: Callable[[str], None]) -> Reading:
    """A reading of what the server said; why a value is bad goes to `refused`."""
    status = data.StatusCode
    quality = _QUALITIES[status.value >> 30] if status is not None else Quality.GOOD
    moment = _time(data, clock)
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


def _time(data: ua.DataValue, clock: Clock) -> int:
    moment: datetime | None = None
    if clock != "gateway":
        moment = data.SourceTimestamp if clock == "source" else None
        moment = moment or data.ServerTimestamp
    if moment is None:
        return int(time() * 1000)
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
    """A value in the type that the node has. Raises WriteError when it does not fit."""
    try:
        if kind == ua.VariantType.Boolean:
            return ua.Variant(bool(value), kind)
        if kind in _INTEGERS and isinstance(value, int | float):
            return ua.Variant(round(value), kind)
        if kind in _FLOATS and isinstance(value, int | float):
            return ua.Variant(float(value), kind)
        if kind == ua.VariantType.String:
            return ua.Variant(str(value), kind)
    except (ValueError, OverflowError) as error:
        raise WriteError(f"{value!r} cannot be a {kind.name}: {error}") from None
    raise WriteError(f"{value!r} cannot be written to a {kind.name}")
