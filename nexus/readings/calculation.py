"""What follows from a device's readings: the results of expressions, and totals. Pure."""

from collections.abc import Collection, Iterable, Sequence

from nexus.alarms.expression import EvaluationError
from nexus.contract.reading import Quality, Reading, Value
from nexus.contract.totals import Kept, TotalKind, Totals
from nexus.readings.definition import DerivedTag
from nexus.readings.totals import Total

_UNCERTAIN, _BEST = int(Quality.UNCERTAIN), 255
_MOST_APART_MS = 1_000  # beyond, a clock was set back


class Calculation:
    """The derived tags of one device, each after its inputs; `kept` has their totals, which go on. `now` is epoch ms.

    A time that is `most_apart_ms` before the last one of its tag is one of a clock that was set back. `faults` says why
    expressions have no result now, by tag; `fault_count` is how many times that was so.
    """

    def __init__(self, tags: Sequence[DerivedTag], kept: Totals, most_apart_ms: float = _MOST_APART_MS) -> None:
        self._most_apart_ms = most_apart_ms
        self._plan = [(tag, tuple(tag.expression.names)) for tag in tags]
        self._totals = {
            tag.name: Total(tag, _kept(tag.name, tag.kind, kept)) for tag in tags if tag.kind != "expression"
        }
        self._inputs = frozenset(name for tag in tags for name in tag.expression.names)
        self._last: dict[str, Reading] = {}  # of the inputs
        self._values: dict[str, Value] = {}  # likewise; None is a bad one
        self._made: dict[str, Reading] = {}  # the last result of each tag
        self.faults: dict[str, str] = {}
        self.fault_count = 0

    def after(self, readings: Iterable[Reading], now: int) -> list[Reading]:
        """What follows from new readings of the device; nothing of a tag before all of its inputs have been read."""
        made: list[Reading] = []
        changed: set[str] = set()
        for reading in readings:
            if reading.tag not in self._inputs:
                continue
            if reading.tag in changed:  # several of one tag: each counts
                made += self._calculated(changed, now)
                changed = set()
            self._take(reading)
            changed.add(reading.tag)
        return made + self._calculated(changed, now) if changed else made

    def tick(self, silent: Collection[str], now: int) -> list[Reading]:
        """Totals go on, and those of `silent` are confirmed: their inputs are as they were."""
        return self._calculated(set(), now, {*self._totals, *silent})

    def resume(self, inputs: Iterable[Reading], made: Iterable[Reading]) -> None:
        """Goes on from the last readings of the inputs, and from what was made last; nothing follows from them anew.

        Totals count from their last moment on.
        """
        for reading in inputs:
            self._take(reading)
        for reading in made:
            self._made[reading.tag] = reading
            if reading.tag in self._inputs:
                self._take(reading)
        for tag, names in self._plan:
            if (total := self._totals.get(tag.name)) is not None and (seen := self._seen(names)) is not None:
                total.resume(self._rate(tag, seen[0]))

    def _take(self, reading: Reading) -> None:
        self._last[reading.tag] = reading
        self._values[reading.tag] = reading.value if reading.quality >= _UNCERTAIN else None

    def _calculated(self, changed: set[str], now: int, wanted: Collection[str] = ()) -> list[Reading]:
        made = []
        for tag, names in self._plan:
            if (changed.isdisjoint(names) and tag.name not in wanted) or (seen := self._seen(names)) is None:
                continue
            quality, time = seen
            reading = self._reading(tag, quality, now if tag.name in wanted else time, now)
            made.append(reading)
            if tag.name in self._inputs:
                self._take(reading)
                changed.add(tag.name)
        return made

    def _seen(self, names: Iterable[str]) -> tuple[int, int] | None:
        """The worst quality and the newest time of the inputs; None before each of them was read."""
        quality, time = _BEST, 0
        for name in names:
            if (last := self._last.get(name)) is None:
                return None
            quality = min(quality, last.quality)
            time = max(time, last.time)
        return quality, time

    def _reading(self, tag: DerivedTag, quality: int, time: int, now: int) -> Reading:
        value = self._value(tag) if quality >= _UNCERTAIN else None
        if (total := self._totals.get(tag.name)) is not None:
            rate = value if isinstance(value, int | float) else None
            total.add(rate, now)
            time, value, quality = now, total.value, _UNCERTAIN if rate is None else quality
        elif value is None and quality >= _UNCERTAIN:
            quality = int(Quality.BAD)
        reading = _apart(Reading(tag.name, time, value, quality), self._made.get(tag.name), self._most_apart_ms)
        self._made[tag.name] = reading
        return reading

    def _rate(self, tag: DerivedTag, quality: int) -> float | None:
        value = self._value(tag) if quality >= _UNCERTAIN else None
        return value if isinstance(value, int | float) else None

    def _value(self, tag: DerivedTag) -> Value:
        """The result; None if there is none."""
        try:
            if tag.kind in ("runtime", "count"):
                value: Value = tag.expression.is_true(self._values)
            else:
                value = tag.expression.evaluate(self._values)
            if tag.kind == "total" and isinstance(value, str):
                raise EvaluationError("a rate is a number, and this is a text")
        except EvaluationError as error:
            self.faults[tag.name] = str(error)
            self.fault_count += 1
            return None
        if self.faults:
            self.faults.pop(tag.name, None)
        return value


def _apart(reading: Reading, last: Reading | None, most_ms: float) -> Reading:
    """A new value gets a time of its own, also if the input that changed is older than another one: the database has
    one value of a tag for each time.
    """
    if last is None or not reading.time <= last.time < reading.time + most_ms:
        return reading
    is_new = (reading.value, reading.quality) != (last.value, last.quality)
    return Reading(reading.tag, last.time + is_new, reading.value, reading.quality)


def _kept(name: str, kind: TotalKind, kept: Totals) -> Kept:
    """What was kept of a total; a new one if it was another kind of total."""
    found = kept.get(name)
    if found is None or found.kind != kind:
        found = kept[name] = Kept(kind)
    return found
