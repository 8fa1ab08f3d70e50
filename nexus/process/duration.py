"""Durations as operators write them: 100ms, 1s, 2.5s, 2m, 1h, 7d; in seconds as the code has them."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 10 * 366 * 86_400.0
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def seconds(text: object) -> float:
    """Reads a duration. Raises ValueError that says how to write one."""
    if isinstance(text, str) and (match := _FORM.fullmatch(text.strip())):
        if (found := float(match[1]) * _UNITS[match[2]]) > _LONGEST:
            raise ValueError("must not be longer than ten years")
        return found
    # A container may be arbitrarily large.
    shown = f"{text!r:.60}" if isinstance(text, str | int | float) else "this"
    raise ValueError(f"{shown} is not a duration: write it with its unit, like 500ms, 1s, 2m, 12h or 7d")


# For the JSON Schema: what an editor checks while typing.
PATTERN = r"\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$"
EXAMPLES = ["500ms", "1s", "2.5s", "5m"]

Seconds = Annotated[
    float, BeforeValidator(seconds), WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}", "examples": EXAMPLES})
]
