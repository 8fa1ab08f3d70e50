"""How a shared line's time is divided: units that do not answer get a bounded share, and try one at a time. Pure."""

from dataclasses import dataclass, field

SHARE = 0.04  # of the line's time, for all silent units together
SHORTEST_PATIENCE = 0.5  # seconds
_MARGIN = 4  # times the slowest answer that was seen lately
_FADES = 0.99  # what one slow answer counts for, an answer later


@dataclass(slots=True)
class Turns:
    """What is known of a line's units. Times in seconds, on the clock of `now`."""

    _misses: dict[int, float] = field(default_factory=dict)
    _met: set[int] = field(default_factory=set)
    _slowest: float = 0.0
    _free_at: float = 0.0
    _unanswered: int = 0  # requests in a row: a converter may still wait for these units while the next one is asked

    def rest(self, unit: int, now: float) -> float:
        """How long a unit must not be asked yet, because silent ones took their share of the line; usually 0."""
        return max(0.0, self._free_at - now) if self._is_silent(unit) else 0.0

    def limit(self, unit: int, timeout: float) -> float:
        """How long to wait for a unit's answer: its timeout, or less if it is probably not there.

        One that never answered may be slower than the others: it is given its whole time at tries 2, 4, 8 and so on.
        """
        tries = int(self._misses.get(unit, 0))
        if unit in self._met:
            return self.patience(timeout) if self._is_silent(unit) else timeout
        return timeout if tries and tries & (tries + 1) == 0 else self.patience(timeout)

    def trusts(self, unit: int) -> bool:
        """Whether a unit answered until now, so that asking it once more is worth the time."""
        return unit in self._met and unit not in self._misses

    def patience(self, timeout: float) -> float:
        """After how long an answer is probably lost, by what the units of this line took lately."""
        if not self._met:
            return timeout
        usual = max(min(SHORTEST_PATIENCE, timeout / 3), self._slowest * _MARGIN)
        return min(timeout, usual * 2.0 ** min(self._unanswered, 8))

    def answered(self, unit: int, took: float) -> None:
        """A unit answered."""
        if not self._unanswered or not self._slowest:  # else it may have waited for others
            self._slowest = max(took, self._slowest * _FADES)
        self._unanswered = 0
        if unit not in self._met or self._misses:
            self._met.add(unit)
            self._misses.pop(unit, None)

    def missed(self, unit: int, now: float, cost: float) -> None:
        """A unit did not answer, which took `cost` of the line's time.

        It counts half if the one before did not either: converters may still have been waiting for that one.
        """
        self._misses[unit] = self._misses.get(unit, 0) + (0.5 if self._unanswered else 1)
        self._unanswered += 1
        if self._is_silent(unit):
            self._free_at = now + cost * (1 / SHARE - 1)

    def _is_silent(self, unit: int) -> bool:
        """One lost answer is no silence of a unit that answered until now."""
        return self._misses.get(unit, 0) >= (2 if unit in self._met else 1)
