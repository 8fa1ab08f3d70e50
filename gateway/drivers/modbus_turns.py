"""How a shared line's time is divided: units that do not answer get a bounded share, and try one at a time. Pure."""

from dataclasses import dataclass, field

SHARE = 0.03  # of the line's time, for all silent units together
SHORTEST_PATIENCE = 0.5  # seconds
SOONEST_REPEAT = 0.2
_MARGIN = 4  # times the slowest answer that was seen lately
_FADES = 0.99  # what one slow answer counts for, an answer later
_HOLD_FADES = 0.9  # likewise how long a converter is held up, when the next one is answered at once


@dataclass(slots=True)
class Turns:
    """What is known of a line's units. Times in seconds, on the clock of `now`.

    A converter waits for a silent unit, for longer or shorter than we do, and answers nobody meanwhile. How long that
    holds it up shows in the first answer after a row of silences.
    """

    _misses: dict[int, float] = field(default_factory=dict)
    _met: set[int] = field(default_factory=set)
    _slowest: float = 0.0
    _hold: float | None = None  # how long one silent unit holds up the converter, if that is known
    _row: int = 0  # requests in a row without an answer
    _row_seconds: float = 0.0
    _free_at: float = 0.0

    def rest(self, unit: int, now: float) -> float:
        """How long a unit must not be asked yet, because silent ones took their share of the line; usually 0."""
        return max(0.0, self._free_at - now) if self._is_silent(unit) else 0.0

    def limit(self, unit: int, timeout: float) -> float:
        """How long to wait for a unit's answer: its timeout, or less if it is probably not there.

        One that never answered may be slower than the others: it is given its whole time at tries 4, 8, 16 and so on.
        """
        if unit in self._met and not self._is_silent(unit):
            return timeout
        tries = int(self._misses.get(unit, 0))
        if unit not in self._met and tries >= 3 and tries & (tries + 1) == 0:
            return timeout
        patience = self.patience(timeout)
        return min(timeout, patience * 2.0 ** min(self._row, 8) if self._hold is None else max(patience, self._hold))

    def trusts(self, unit: int) -> bool:
        """Whether a unit answered until now, so that asking it once more is worth the time."""
        return unit in self._met and unit not in self._misses

    def patience(self, timeout: float) -> float:
        """After how long an answer is probably lost, by what the units of this line took lately."""
        if not self._met:
            return timeout
        return min(timeout, max(min(SHORTEST_PATIENCE, timeout / 3), self._slowest * _MARGIN))

    def repeat_after(self, timeout: float) -> float:
        """After how long a request of a unit that is there is sent once more: doing it in vain costs little."""
        return min(timeout, max(min(SOONEST_REPEAT, timeout / 3), self._slowest * _MARGIN)) if self._met else timeout

    def answered(self, unit: int, took: float) -> None:
        """A unit answered."""
        if self._row:
            self._learn_hold(took)
        else:
            self._slowest = max(took, self._slowest * _FADES)
        if unit not in self._met or self._misses:
            self._met.add(unit)
            self._misses.pop(unit, None)

    def missed(self, unit: int, now: float, cost: float) -> None:
        """A unit did not answer, which took `cost` of the line's time.

        It counts half if the one before did not either and may have held up the converter.
        """
        self._misses[unit] = self._misses.get(unit, 0) + (0.5 if self._row and self._hold is None else 1)
        self._row += 1
        self._row_seconds += cost
        if self._is_silent(unit):
            self._free_at = now + cost * (1 / SHARE - 1)

    def _learn_hold(self, took: float) -> None:
        if not self._slowest:
            self._slowest = took
        elif took > 2 * self._slowest:
            self._hold = (self._row_seconds + took) / self._row
        elif self._row == 1:  # the converter was free again; of a longer row that tells nothing of each
            self._hold = self._row_seconds if self._hold is None else self._hold * _HOLD_FADES
        self._row, self._row_seconds = 0, 0.0

    def _is_silent(self, unit: int) -> bool:
        """One lost answer is no silence of a unit that answered until now."""
        return self._misses.get(unit, 0) >= (2 if unit in self._met else 1)
