"""Values to be written, taken strictly: nothing is rounded, cut or guessed, and only WriteError is raised. Pure."""

import struct
from math import isfinite, isinf

from gateway.drivers.driver import WriteError
from nexus.contract.reading import Value

_LONGEST_SHOWN = 40
_MOST_BITS_SHOWN = 128


def truth(value: Value, kind: str) -> bool:
    """A boolean, and nothing that could merely be read as one. Raises WriteError."""
    if not isinstance(value, bool):
        raise WriteError(f"{shown(value)} is not a boolean: a {kind} takes true or false")
    return value


def text(value: Value, kind: str) -> str:
    """A string that can be encoded, so without half a surrogate pair. Raises WriteError."""
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise WriteError(f"{shown(value)} is not a text, and {kind} takes nothing else")
    return value


def whole(value: Value, low: int, high: int, kind: str) -> int:
    """A whole number from `low` to `high`. Raises WriteError, which names them."""
    number = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():  # infinity and NaN are not
        number = int(value)
    if number is None or not low <= number <= high:
        raise WriteError(f"{shown(value)} does not fit: {kind} takes whole numbers from {low} to {high}")
    return number


def packed(layout: str, value: Value, kind: str) -> bytes:
    """A number as `struct` lays it out (`>h`, `<f` and so on). Raises WriteError when the type does not hold it."""
    size, code = struct.calcsize(layout), layout[-1]
    if code in "fd":
        return _packed_float(layout, value, kind)
    bits = size * 8
    low, high = (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return struct.pack(layout, whole(value, low, high, kind))


def _packed_float(layout: str, value: Value, kind: str) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WriteError(f"{shown(value)} is not a number: {kind} takes nothing else")
    try:
        number = float(value)
        if isfinite(number):
            return struct.pack(layout, number)
    except (OverflowError, struct.error):
        pass
    largest = "3.4e38" if layout[-1] == "f" else "1.8e308"
    raise WriteError(f"{shown(value)} does not fit: {kind} takes numbers from -{largest} to {largest}")


def shown(value: Value) -> str:
    """A value for a message, however large it is."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, float) and isinf(value):
        return "infinity" if value > 0 else "-infinity"
    said = repr(value)
    return said if len(said) <= _LONGEST_SHOWN else f"{said[:_LONGEST_SHOWN]}…"
