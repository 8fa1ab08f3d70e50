"""What a device file says of an alarm: its condition, its delays, and what to do about it."""

from dataclasses import dataclass

from nexus.alarms.expression import Expression
from nexus.contract.alarm import Priority
from nexus.contract.reading import Value

Limit = float | str  # a number, or the name of a tag of the same device

MOST_ALARMS = 1_000  # of a device


@dataclass(frozen=True, slots=True)
class Above:
    """The value is above the limit."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class Below:
    """The value is below the limit."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class Outside:
    """The value is below `low` or above `high`."""

    low: Limit
    high: Limit


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is this one."""

    value: Value


@dataclass(frozen=True, slots=True)
class Changed:
    """The value has just changed."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The value changes by more than `limit` a second, up or down, over a window of `over` seconds."""

    limit: float
    over: float


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The value has been the same for this long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stale:
    """No value was read for this long, or none that is not bad."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Bad:
    """The quality is bad."""


@dataclass(frozen=True, slots=True)
class When:
    """The expression is true."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Lost:
    """The device cannot be reached."""


Condition = Above | Below | Outside | Equals | Changed | Rate | Unchanged | Stale | Bad | When | Lost


@dataclass(frozen=True, slots=True)
class AlarmDefinition:
    """An alarm of a tag, or of the device itself if `tag` is ""; times in seconds, `deadband` in the tag's unit.

    `text` says what is wrong, `response` what the operator does. While `suppressed_by` is true it calls nobody. A
    `latched` alarm stays until it is reset; one that stands acknowledged calls again after `realarm`; one that chatters
    is shelved for `auto_shelve`.
    """

    name: str
    tag: str
    condition: Condition
    deadband: float = 0.0
    on_delay: float = 0.0
    off_delay: float = 0.0
    priority: Priority = "medium"
    text: str = ""
    response: str = ""
    suppressed_by: Expression | None = None
    latched: bool = False
    realarm: float | None = None
    auto_shelve: float | None = None
