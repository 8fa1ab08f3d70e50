"""What an expression's code may call, and how it becomes a function. Pure."""

from collections.abc import Callable, Mapping
from math import pow as power

from nexus.contract.reading import Value

Run = Callable[[Mapping[str, Value]], Value]


def bit(value: float, number: int) -> bool:
    """Whether the bit is set, counted from 0; of a negative number in two's complement. Raises ValueError."""
    whole = int(value)
    if whole != value:
        raise ValueError("bit() takes whole numbers")
    return bool(whole >> number & 1)


def equal(one: Value, other: Value) -> bool:
    """Whether two values are equal. Raises TypeError if they are not of one kind, or one is missing."""
    if isinstance(one, str) is not isinstance(other, str) or one is None or other is None:
        raise TypeError
    return one == other


_SCOPE = {"__builtins__": {}, "min": min, "max": max, "abs": abs, "bit": bit, "equal": equal, "power": power}


def compiled(code: str) -> Run:
    """The code of a checked expression as a function of the tags' values."""
    run: Run = eval(f"lambda v: {code}", dict(_SCOPE))  # noqa: S307  the grammar made it, of what it has checked
    return run
