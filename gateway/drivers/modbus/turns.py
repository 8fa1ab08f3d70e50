"""How a shared line's time is divided: silent units and slow ones get a bounded share of it. Pure."""

from dataclasses import dataclass, field
from math import inf

SHARE = 0.03  # of the line's time for all silent units together, and of the other units' scans that this may cost
MOST = 1 / 2  # of the time that the other units leave, if that is needed to ask each silent unit once in ROUND
ROUND = 140.0  # seconds; about as long as a breaker stays open at most
PATIENT_SHARE = 0.01  # of the other units' scans, for giving a unit that never answered its whole timeout
SOON = 0.001  # seconds; timers are not more exact
SLOW_SHARE = 0.1  # of the others' scans, which slow units may cost
SLOW_CREDIT = 30.0  # seconds of rest that are waived, so that a single lost answer costs none
SLOW_FROM = 0.1  # of the shortest interval: several units that take the line for longer may cost the others scans
SLOW_FORGOTTEN = 600.0  # seconds; a unit that is slow again later is logged again
LATE = 5.0  # seconds; a silent unit overdue by more holds up none behind it
LONGEST_REST = 30.0  # seconds; then the turn is computed again
SHORTEST_PATIENCE = 0.5  # seconds
SOONEST_REPEAT = 0.2
_MARGIN = 4  # times the slowest answer that was seen lately
_FADES = 0.99  # what one slow answer counts for, an answer later
_SLOW_FADES = 0.9  # likewise how long a unit takes
_HOLD_FADES = 0.9  # likewise how long a converter is held up, when the next one is answered at once


@dataclass(slots=True)
class Turns:
    """What is known of a line's units. Times in seconds, on the clock of `now`.

    A converter waits for a silent unit, for longer or shorter than we do, and serves nobody meanwhile. How long that
    holds it up shows in the first answer after a run of missing ones.

    Silent units take turns. The time between two turns follows from what a missing answer costs, how busy the line is,
    and how often the other units are read. It changes, so a unit that comes too early is given a new time.

    Slow units answer late, or lose every second answer. They share one place in the queue for the line, so that the
    others wait for at most one of them. Where even that is longer than an interval, they rest between their scans, so
    that together they cost the others no more than SLOW_SHARE of their scans, or each has only its fair share of the
    line's time.
    """

    _misses: dict[int, float] = field(default_factory=dict)
    _met: set[int] = field(default_factory=set)
    _intervals: dict[int, float] = field(default_factory=dict)  # how often units are read
    _shortest: float = inf  # of these
    _takes: dict[int, float] = field(default_factory=dict)  # for how long slow units took the line lately
    _even_at: dict[int, float] = field(default_factory=dict)  # when they have made up for that
    _told: set[int] = field(default_factory=set)  # slow units that were reported
    _slowest: float = 0.0
    _hold: float | None = None  # how long one silent unit holds up the converter, if that is known
    _row: int = 0  # requests in a row without an answer
    _row_seconds: float = 0.0
    _busy: float = 0.0  # seconds spent on other units since the last missing answer
    _free_at: float = 0.0  # no silent unit is asked before
    _apart: float = 0.0  # from one silent unit's turn to the next one's
    _queue: dict[int, float] = field(default_factory=dict)  # silent units in the order of their turns: when each comes
    _silence_ended: float | None = None
    _patient: dict[int, float] = field(default_factory=dict)  # by unit: at which try it got its whole timeout
    _patient_at: float = 0.0  # when the next unit may get it

    def polled(self, unit: int, interval: float) -> None:
        """A unit is read at this interval."""
        self._intervals[unit] = interval
        self._shortest = min(self._intervals.values())

    def left(self, unit: int) -> None:
        """A unit is not read any more, for now."""
        self._intervals.pop(unit, None)
        self._shortest = min(self._intervals.values(), default=inf)

    def is_slow(self, unit: int) -> bool:
        """Whether a unit itself has taken the line for long lately."""
        return unit in self._takes

    def slow_rest(self, unit: int, now: float) -> float:
        """How long a unit must not be scanned yet, because it is slow; usually 0."""
        return max(0.0, self._even_at[unit] - now) if unit in self._even_at else 0.0

    def slow_news(self, unit: int) -> float:
        """How long a slow unit takes the line, if that was not reported yet; else 0."""
        takes = 0.0 if unit in self._told else self._takes.get(unit, 0.0)
        if takes:
            self._told.add(unit)
        return takes

    def rest(self, unit: int, now: float) -> float:
        """How long a unit must not be asked yet, because it is silent and others have their turn; usually 0."""
        if not self._is_silent(unit):
            return 0.0
        ahead = 0
        self._queue.setdefault(unit, now)
        for other, comes in self._queue.items():
            if other == unit:
                break
            ahead += comes + LATE >= now
        rest = min(max(0.0, self._free_at - now) + ahead * self._apart, LONGEST_REST)
        if rest <= SOON:
            return 0.0
        self._queue[unit] = now + rest
        return rest

    def limit(self, unit: int, timeout: float, now: float) -> float:
        """How long to wait for a unit's answer: its timeout, or less if it is probably not there.

        One that never answered may be slower than the others: it is given its whole time at tries 4, 8, 16 and so on,
        or later if others were given theirs just before.
        """
        if unit in self._met and not self._is_silent(unit):
            return timeout
        tries = self._misses.get(unit, 0) + 1
        if unit not in self._met and now >= self._patient_at and tries >= 2 * self._patient.get(unit, 2):
            self._patient[unit] = tries
            self._patient_at = now + self._lost(timeout, unit) / PATIENT_SHARE
            return timeout
        patience = self.patience(timeout)
        return min(timeout, patience * 2.0 ** min(self._row, 8) if self._hold is None else max(patience, self._hold))

    def trusts(self, unit: int) -> bool:
        """Whether a unit has answered until now, so that repeating a request is worth the time."""
        return unit in self._met and unit not in self._misses

    def patience(self, timeout: float) -> float:
        """After how long an answer is probably lost, by what the units of this line took lately."""
        if not self._met:
            return timeout
        return min(timeout, max(min(SHORTEST_PATIENCE, timeout / 3), self._slowest * _MARGIN))

    def repeat_after(self, timeout: float) -> float:
        """After how long a request to a responsive unit is sent once more: an unneeded repetition costs little."""
        return min(timeout, max(min(SOONEST_REPEAT, timeout / 3), self._slowest * _MARGIN)) if self._met else timeout

    def answered(self, unit: int, took: float, busy: float = 0.0, now: float = 0.0) -> None:
        """A unit answered; the line was `busy` with that."""
        self._busy += busy
        if self._row:
            self._learn_hold(took)
        else:
            self._slowest = max(took, self._slowest * _FADES)
            if busy > self._shortest * SLOW_FROM or unit in self._takes:
                self._charge(unit, busy, now)
        if unit not in self._met or self._misses:
            self._met.add(unit)
            for known in (self._misses, self._queue, self._patient):
                known.pop(unit, None)

    def missed(self, unit: int, now: float, cost: float) -> None:
        """A unit did not answer, which took `cost` of the line's time.

        It counts half if the one before did not either and may have held up the converter.
        """
        misses = self._misses.get(unit, 0)
        if not misses and not self._row and unit in self._met:
            self._charge(unit, cost, now)
        self._misses[unit] = misses + (0.5 if self._row and self._hold is None else 1)
        self._queue.pop(unit, None)
        self._row += 1
        self._row_seconds += cost
        if self._is_silent(unit):
            pause = self._pause(cost, now)
            if misses + 1 != self._patient.get(unit):  # silent units have a share of their own
                pause = max(pause, self._lost(cost, unit) / SHARE)
                self._apart = cost + pause if pause else 0.0
            self._free_at = now + pause
        self._busy, self._silence_ended = 0.0, now

    def _charge(self, unit: int, seconds: float, now: float) -> None:
        """A responsive unit took the line for so long; nothing else held it up meanwhile."""
        self._takes[unit] = takes = max(seconds, self._takes.get(unit, 0.0) * _SLOW_FADES)
        if takes <= self._shortest * SLOW_FROM:
            del self._takes[unit]
        if lost := self._lost(seconds, unit):
            even_at, long_ago = self._even_at.get(unit, -inf), now - SLOW_CREDIT
            if even_at < now - SLOW_FORGOTTEN:
                self._told.discard(unit)
            slow = 1 + sum(takes > self._shortest for other, takes in self._takes.items() if other != unit)
            alone, fair = lost / SLOW_SHARE, seconds * len(self._intervals)
            self._even_at[unit] = max(even_at, long_ago) + max(alone, min(alone * slow, fair))

    def _pause(self, cost: float, now: float) -> float:
        """How long to leave the line to the other units, after one missing answer."""
        silent = sum(self._is_silent(unit) for unit in self._misses)
        if not self._met or all(self._is_silent(unit) for unit in self._met):
            return 0.0  # no other unit would lose by it
        since = now - self._silence_ended if self._silence_ended is not None else 0.0
        load = min(1.0, self._busy / since) if since > 0 else 1.0
        share = max(SHARE, min(silent * cost / ROUND, (1 - load) * MOST))
        return cost * (1 / share - 1)

    def _lost(self, cost: float, unit: int) -> float:
        """Of the time that a unit took the line, what costs the others scans: these make up for one interval.

        Those that take longer than their interval themselves make up for that.
        """
        others = (
            max(interval, self._takes.get(other, 0.0))
            for other, interval in self._intervals.items()
            if other != unit and not self._is_silent(other)
        )
        return max(0.0, cost - min(others, default=inf))

    def _learn_hold(self, took: float) -> None:
        if not self._slowest:
            self._slowest = took
        elif took > 2 * self._slowest:
            self._hold = (self._row_seconds + took) / self._row
        elif self._row == 1:  # the converter was free again; of a longer row that tells nothing of each
            self._hold = self._row_seconds if self._hold is None else self._hold * _HOLD_FADES
        self._row, self._row_seconds = 0, 0.0

    def _is_silent(self, unit: int) -> bool:
        """A unit that has answered until now is not silent after one lost answer."""
        return self._misses.get(unit, 0) >= (2 if unit in self._met else 1)
