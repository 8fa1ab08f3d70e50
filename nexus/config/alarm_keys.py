"""The keys of an alarm in a device file, as operators write them."""

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from nexus.config.diagnostics import shown
from nexus.config.keys import Number, Truth
from nexus.process.duration import Seconds

LONGEST_TEXT = 500
LONGEST_SHELVING = 7 * 86_400.0

CONDITIONS = (
    "above", "below", "outside", "equals", "changed", "rate", "unchanged", "stale", "bad", "when", "lost",
)  # fmt: skip
OF_DEVICES = ("lost", "when")
_BARE = ("changed", "bad", "lost")  # which are true, or the same as absent


def _limit(value: object) -> float | str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    raise ValueError(f"{shown(value)} is not a limit: write a number, or the name of a tag of this device")


def _limits(value: object) -> tuple[float | str, float | str]:
    if isinstance(value, list) and len(value) == 2:
        return _limit(value[0]), _limit(value[1])
    raise ValueError("write the two limits like [10, 80]")


def _value(value: object) -> float | int | bool | str:
    if isinstance(value, int | float | str):
        return value
    raise ValueError(f"{shown(value)} is not a value: write a number, true, false or a text")


def _shelving(value: float) -> float:
    if value > LONGEST_SHELVING:
        raise ValueError("must not be longer than 7d: an alarm that is not wanted for longer is taken out of service")
    return value


_LIMIT = {"type": ["number", "string"]}
_LIMITS = {"type": "array", "items": _LIMIT, "minItems": 2, "maxItems": 2}

Limit = Annotated[Any, BeforeValidator(_limit), WithJsonSchema(_LIMIT)]
Limits = Annotated[Any, BeforeValidator(_limits), WithJsonSchema(_LIMITS)]
AnyValue = Annotated[Any, BeforeValidator(_value), WithJsonSchema({"type": ["number", "boolean", "string"]})]


class AlarmKeys(BaseModel):
    """An alarm of a tag or of a device."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
    name: str
    above: Limit = None
    below: Limit = None
    outside: Limits = None
    equals: AnyValue = None
    changed: Truth = False
    rate: Number | None = Field(None, gt=0)
    over: Seconds | None = Field(None, gt=0)
    unchanged: Seconds | None = Field(None, gt=0)
    stale: Seconds | None = Field(None, gt=0)
    bad: Truth = False
    when: str | None = None
    lost: Truth = False
    deadband: Number = Field(0.0, ge=0)
    on_delay: Seconds = 0.0
    off_delay: Seconds = 0.0
    priority: Literal["low", "medium", "high", "critical"] = "medium"
    text: str = Field("", max_length=LONGEST_TEXT)
    response: str = Field("", max_length=LONGEST_TEXT)
    suppressed_by: str | None = None
    latched: Truth = False
    realarm: Seconds | None = Field(None, gt=0)
    auto_shelve: Annotated[Seconds, AfterValidator(_shelving)] | None = Field(None, gt=0)

    @property
    def conditions(self) -> list[str]:
        """The keys of its conditions: exactly one, if the alarm is valid."""
        off = {key for key in _BARE if not getattr(self, key)}
        return [key for key in CONDITIONS if key in self.model_fields_set - off]
