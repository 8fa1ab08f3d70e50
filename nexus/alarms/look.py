"""What an alarm's condition is told, and what it tells; times in ms, of a clock that does not jump."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Protocol

from nexus.contract.reading import Quality, Reading, Value

UNCERTAIN = int(Quality.UNCERTAIN)

Band = tuple[float, float]
EVERYWHERE: Band = (-inf, inf)
NOWHERE: Band = (inf, -inf)


class TagState:
    """What is known of a tag: its last reading that was looked at, and when the last came that is not bad.

    While its value stays from `low` to `high`, nothing changes for its alarms.
    """

    __slots__ = ("each", "high", "low", "noted", "reading", "seen")

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self.seen = 0
        self.low, self.high = NOWHERE
        self.each = False  # each reading counts, also one that says the same
        self.noted = False  # its reading waits to be looked at

    @property
    def value(self) -> Value:
        """None if there is none, or none to rely on."""
        reading = self.reading
        if reading is None or reading.quality < UNCERTAIN:
            return None
        return None if isinstance(reading.value, float) and isnan(reading.value) else reading.value

    @property
    def number(self) -> float | None:
        """The value, if it is a number; true is 1."""
        value = self.value
        return None if isinstance(value, str) else value


@dataclass(slots=True)
class Look:
    """At an alarm: its tag, the values of tags that are named somewhere, and whether it is active, as deadbands count
    only then. `loss` is why the device is lost, if it is.
    """

    tag: TagState
    values: Mapping[str, Value]
    active: bool
    now: int
    loss: str | None = None


class Evaluator(Protocol):
    """Of one condition. What it remembers is bounded.

    `names` are the other tags that it needs, `due` is when its answer may change without a reading, `limit` the one
    that was crossed, `error` why there is no answer. Within `bands` (of an alarm that is not active, and of one that
    is) its tag's value changes no answer; with `each`, every reading counts all the same.
    """

    names: frozenset[str]
    due: int | None
    limit: float | None
    error: str
    bands: tuple[Band, Band]
    each: bool

    def holds(self, look: Look) -> bool | None:
        """None if it cannot be told now."""
