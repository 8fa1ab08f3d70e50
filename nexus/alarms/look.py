"""What an alarm's condition is told, and what it tells; times in ms, of a clock that does not jump."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Protocol

from nexus.contract.reading import Quality, Reading, Value

UNCERTAIN = int(Quality.UNCERTAIN)
LARGEST = 2**1000  # of whole numbers; floats are not much larger

Quick = Callable[[float, Reading, int], bool]  # takes a reading's number at a time in ms: whether nothing else follows
Band = tuple[float, float]
EVERYWHERE: Band = (-inf, inf)
NOWHERE: Band = (inf, -inf)


class TagState:
    """What is known of a tag: its reading that was looked at last, the latest, and when one came that is not bad.

    `value` is None if there is none to rely on, and `number` if it is not a number; true is 1. While the value stays
    from `low` to `high`, and `quick` (if there is one) agrees, nothing changes for the tag's alarms.
    """

    __slots__ = ("each", "high", "latest", "low", "name", "noted", "number", "quick", "reading", "seen", "value")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.reading: Reading | None = None
        self.latest: Reading | None = None
        self.value: Value = None
        self.number: float | None = None
        self.low, self.high = NOWHERE
        self.quick: Quick | None = None
        self.seen = 0
        self.each = False  # each reading counts, also one that says the same
        self.noted = False  # its reading waits to be looked at

    def take(self, reading: Reading) -> None:
        """The latest one; it has to be looked at."""
        value = reading.value
        if reading.quality < UNCERTAIN or (isinstance(value, float) and isnan(value)):
            value = None
        elif isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            value = None  # nothing can be calculated with it
        self.reading = self.latest = reading
        self.value = value
        self.number = None if isinstance(value, str) else value
        self.low, self.high = NOWHERE

    def catch_up(self) -> None:
        """Whoever looks sees the latest, though it needed no look."""
        if self.latest is not None and self.latest is not self.reading:
            self.take(self.latest)

    def forget(self) -> None:
        """Nothing is known any more."""
        self.reading = self.latest = self.value = self.number = None
        self.low, self.high = NOWHERE


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
    is) its tag's value changes no answer; with `each`, every reading counts all the same. `quick`, where there is one,
    takes a number as `holds` would for an alarm that is not active, and says whether the answer is not yes. It may move
    the moment that `due` is, but only to later.
    """

    names: frozenset[str]
    due: int | None
    limit: float | None
    error: str
    bands: tuple[Band, Band]
    each: bool

    @property
    def quick(self) -> Quick | None:
        """See above."""

    def holds(self, look: Look) -> bool | None:
        """None if it cannot be told now."""
