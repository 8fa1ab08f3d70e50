"""The keys of a device file that every protocol has, as operators write them."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from nexus.config.diagnostics import shown
from nexus.process.duration import EXAMPLES, PATTERN, Seconds, seconds
from nexus.readings.report import Report

SHORTEST_INTERVAL = 0.1
_SMALLEST_SCALE = 1e-30  # its inverse must be a number, too
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")  # of 100 % or more, 0 would be no change


def _interval(text: object) -> float:
    if (value := seconds(text)) < SHORTEST_INTERVAL:
        raise ValueError(f"{shown(text)} is shorter than 100ms, the shortest interval")
    return value


def _usable(value: float) -> float:
    if value == 0:
        raise ValueError("a scale of 0 would make every value 0: leave it out for no scaling")
    if not _SMALLEST_SCALE <= abs(value) <= 1 / _SMALLEST_SCALE:
        raise ValueError(f"a scale is between {_SMALLEST_SCALE:g} and {1 / _SMALLEST_SCALE:g}")
    return value


def _deadband(text: object) -> tuple[float, bool]:
    """The width, and whether it is a fraction of the value."""
    if isinstance(text, str) and (match := _PERCENT.fullmatch(text.strip())):
        return float(match[1]) / 100, True
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text), False
    raise ValueError(f"{shown(text)} is no deadband: a number in the tag's unit, or a share below 100%, like 0.5%")


_NO_LESS_THAN_100MS = r"(?!\s*\d{1,2}(\.\d+)?\s*ms)"
_INTERVAL = {"type": "string", "pattern": f"^{_NO_LESS_THAN_100MS}{PATTERN}", "examples": EXAMPLES}
_WIDTH = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": rf"^\s*{_PERCENT.pattern}\s*$"}]}

Interval = Annotated[float, BeforeValidator(_interval), WithJsonSchema(_INTERVAL)]
Deadband = Annotated[tuple[float, bool], BeforeValidator(_deadband), WithJsonSchema(_WIDTH)]
Number = Annotated[float, Field(strict=True)]  # neither true nor "1"
Truth = Annotated[bool, Field(strict=True)]


class BreakerKeys(BaseModel):
    """`breaker:` of a device."""

    model_config = _STRICT
    failures: int = Field(5, ge=1, strict=True)
    open_for: Seconds = Field(5.0, gt=0)
    max_open_for: Seconds = Field(120.0, gt=0)


class DeviceKeys(BaseModel):
    """A device."""

    model_config = _STRICT
    name: str
    path: str | None = None
    protocol: str
    template: str | None = None
    interval: Interval = 1.0
    timeout: Seconds = Field(3.0, gt=0, le=60)
    breaker: BreakerKeys = BreakerKeys()
    publish: Literal["tag", "device"] = "tag"
    tags: list[Any] = Field(min_length=1)
    alarms: list[Any] = []


class TagKeys(BaseModel):
    """A tag."""

    model_config = _STRICT
    name: str
    address: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]
    unit: str | None = Field(None, max_length=64)
    scale: Annotated[Number, AfterValidator(_usable)] = 1.0
    offset: Number = 0.0
    interval: Interval | None = None
    on_change: Truth = False
    deadband: Deadband | None = None
    max_silence: Seconds | None = Field(None, gt=0)
    writable: Truth = False
    min: Number | None = None
    max: Number | None = None
    word_order: Literal["big", "little"] | None = None
    byte_order: Literal["big", "little"] | None = None
    alarms: list[Any] = []

    @model_validator(mode="after")
    def _sensible(self) -> "TagKeys":
        if (said := self.contradiction) is not None:
            raise ValueError(said)
        return self

    @property
    def contradiction(self) -> str | None:
        """What keys that are right by themselves cannot mean together."""
        if (said := _silence_alone(self)) is not None:
            return said
        if (self.min is not None or self.max is not None) and not self.writable:
            return "min and max limit what is written: add `writable: true`, or leave them out"
        if self.min is not None and self.max is not None and self.min > self.max:
            return "min is greater than max"
        return None

    @property
    def orders(self) -> dict[str, str]:
        """The tag's own word and byte order, which its device may not have."""
        found = {"word_order": self.word_order, "byte_order": self.byte_order}
        return {key: order for key, order in found.items() if order is not None}

    @property
    def report(self) -> Report | None:
        """By what the tag is reported; None for each reading."""
        return _report(self)


class DerivedKeys(BaseModel):
    """A tag that is calculated from others."""

    model_config = _STRICT
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
        if (said := _silence_alone(self)) is not None:
            raise ValueError(said)
        return self

    @property
    def report(self) -> Report | None:
        """By what the tag is reported; None for each value."""
        return _report(self)


def _silence_alone(keys: TagKeys | DerivedKeys) -> str | None:
    if keys.max_silence is not None and not keys.on_change and keys.deadband is None:
        return "max_silence needs on_change or deadband: without them each reading is sent anyway"
    return None


def _report(keys: TagKeys | DerivedKeys) -> Report | None:
    if not keys.on_change and keys.deadband is None:
        return None
    width, relative = keys.deadband or (0.0, False)
    return Report(width, relative, keys.max_silence)
