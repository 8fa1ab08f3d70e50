"""Keys that tags of every kind have, as operators write them, and those of derived tags."""

import re
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from nexus.config.diagnostics import shown
from nexus.process.duration import Seconds
from nexus.readings.report import Report

STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")  # with 100 % or more, a change to 0 would be ignored


def _deadband(text: object) -> tuple[float, bool]:
    """The width, and whether it is a fraction of the value."""
    if isinstance(text, str) and (match := _PERCENT.fullmatch(text.strip())):
        return float(match[1]) / 100, True
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text), False
    raise ValueError(f"{shown(text)} is not a deadband: a number in the tag's unit, or a share below 100%, like 0.5%")


_WIDTH = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": rf"^\s*{_PERCENT.pattern}\s*$"}]}

Deadband = Annotated[tuple[float, bool], BeforeValidator(_deadband), WithJsonSchema(_WIDTH)]
Number = Annotated[float, Field(strict=True)]  # neither true nor "1"
Truth = Annotated[bool, Field(strict=True)]


class Reported(Protocol):
    """The keys of a tag that control when it is reported."""

    @property
    def on_change(self) -> bool: ...

    @property
    def deadband(self) -> tuple[float, bool] | None: ...

    @property
    def max_silence(self) -> float | None: ...


class DerivedKeys(BaseModel):
    """A tag that is calculated from others."""

    model_config = STRICT
    name: str
    expression: str | None = None
    total: str | None = None
    per: Literal["s", "min", "h"] | None = None
    runtime: str | None = None
    count: str | None = None
    unit: str | None = Field(None, max_length=64)
    on_change: Truth = False
    deadband: Deadband | None = None
    max_silence: Seconds | None = Field(None, gt=0)
    alarms: list[Any] = []

    @model_validator(mode="after")
    def _sensible(self) -> "DerivedKeys":
        if (said := silence_alone(self)) is not None:
            raise ValueError(said)
        return self

    @property
    def report(self) -> Report | None:
        """When the tag is reported; None for every value."""
        return report_of(self)


def silence_alone(keys: Reported) -> str | None:
    """Why `max_silence` cannot stand alone; None if it has company, or is absent."""
    if keys.max_silence is not None and not keys.on_change and keys.deadband is None:
        return "max_silence needs on_change or deadband: without them each reading is sent anyway"
    return None


def report_of(keys: Reported) -> Report | None:
    """When a tag is reported; None for every reading."""
    if not keys.on_change and keys.deadband is None:
        return None
    width, relative = keys.deadband or (0.0, False)
    return Report(width, relative, keys.max_silence)
