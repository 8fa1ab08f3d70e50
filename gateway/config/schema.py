"""The keys of device files that all protocols share, as operators write them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator

from nexus.config.diagnostics import shown
from nexus.config.keys import STRICT, Deadband, Number, Truth, report_of, silence_alone
from nexus.process.duration import EXAMPLES, PATTERN, Seconds, seconds
from nexus.readings.report import Report

SHORTEST_INTERVAL = 0.1
_SMALLEST_SCALE = 1e-30  # its inverse must be finite too


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


_NO_LESS_THAN_100MS = r"(?!\s*\d{1,2}(\.\d+)?\s*ms)"
_INTERVAL = {"type": "string", "pattern": f"^{_NO_LESS_THAN_100MS}{PATTERN}", "examples": EXAMPLES}


Interval = Annotated[float, BeforeValidator(_interval), WithJsonSchema(_INTERVAL)]


class BreakerKeys(BaseModel):
    """`breaker:` of a device."""

    model_config = STRICT
    failures: int = Field(5, ge=1, strict=True)
    open_for: Seconds = Field(5.0, gt=0)
    max_open_for: Seconds = Field(120.0, gt=0)


class DeviceKeys(BaseModel):
    """A device."""

    model_config = STRICT
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

    model_config = STRICT
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
        """Why keys that are each valid contradict each other."""
        if (said := silence_alone(self)) is not None:
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
        """When the tag is reported; None for every reading."""
        return report_of(self)
