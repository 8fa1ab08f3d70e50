"""Conditions that remember: a change, a rate, a value that stands still, a tag that falls silent. Pure."""

from collections import deque

from nexus.alarms.look import EVERYWHERE, NOWHERE, Band, Look
from nexus.contract.alarm import recorded
from nexus.contract.reading import Reading, Value

CHANGED_MS = 1000  # for so long a change is news
MOST_SAMPLES = 60  # of the window of a rate

_NO_NAMES = frozenset[str]()
_NUMBER = (float, int)  # a union is slower


class ChangedValue:
    """For a moment after each change."""

    names = _NO_NAMES
    limit: float | None = None
    error = ""
    each = False
    quick = None

    def __init__(self, deadband: float) -> None:
        self.due: int | None = None
        self.bands = (NOWHERE, NOWHERE)
        self._deadband = deadband
        self._reference: Value = None
        self._until = 0

    def holds(self, look: Look) -> bool | None:
        self.due = None
        if (value := look.tag.value) is None:
            return None
        if self._reference is None:
            self._reference, self._until = value, look.now
        elif _differs(value, self._reference, self._deadband):
            self._reference, self._until = value, look.now + CHANGED_MS
        self.bands = (_around(self._reference, self._deadband),) * 2
        if look.now >= self._until:
            return False
        self.due = self._until
        return True


class UnchangedValue:
    """`before` is the value with which it was raised, if it was active when we began, as a record has it."""

    names = _NO_NAMES
    limit: float | None = None
    error = ""
    each = False

    def __init__(self, seconds: float, deadband: float, before: Value) -> None:
        self.due: int | None = None
        self.bands = (NOWHERE, NOWHERE)
        self._ms = int(seconds * 1000)
        self._deadband = deadband
        self._before = before
        self._reference: Value = None
        self._end = 0  # when it will have stood still for long enough

    def holds(self, look: Look) -> bool | None:
        self.due = None
        if (value := look.tag.value) is None:
            return None
        before, self._before = self._before, None
        # Each of the two may be off by a deadband from what the reference was.
        if before is not None and not _differs(recorded(value), before, 2 * self._deadband):
            self._reference = value
        elif self._reference is None or _differs(value, self._reference, self._deadband):
            self._reference, self._end = value, look.now + self._ms
        self.bands = (_around(self._reference, self._deadband),) * 2
        if look.now >= self._end:
            return True
        self.due = self._end
        return False

    def quick(self, value: float, _reading: Reading, now: int) -> bool:
        """A number that differs begins anew; `due` stays where it is, and is put off when it comes."""
        if _differs(value, self._reference, self._deadband):
            self._reference, self._end = value, now + self._ms
        return True


class RateWindow:
    """Against the newest sample that is at least as old as the window; a shorter time tells nothing yet."""

    names = _NO_NAMES
    due: int | None = None
    error = ""
    bands = (NOWHERE, NOWHERE)
    each = True

    def __init__(self, limit: float, over: float, deadband: float) -> None:
        self.limit: float | None = limit
        self._limit, self._deadband = limit, deadband
        self._ms = over * 1000
        self._apart = self._ms / MOST_SAMPLES
        self._first: tuple[int, float] | None = None  # the sample to compare with
        self._samples = deque[tuple[int, float]]()  # newer ones
        self._newest = 0
        self._reading: Reading | None = None  # the last one, and what it said
        self._answer: bool | None = None

    def __len__(self) -> int:
        return len(self._samples) + 1

    def holds(self, look: Look) -> bool | None:
        if (reading := look.tag.reading) is None or reading is self._reading:
            return self._answer
        if (value := look.tag.number) is None:
            self._reading, self._answer = reading, None
        else:
            self.quick(value, reading, look.now, self._deadband if look.active else 0)
        return self._answer

    def quick(self, value: float, reading: Reading, now: int, deadband: float = 0) -> bool:
        """The same for each reading."""
        self._reading, self._answer = reading, None
        if (first := self._first) is None:
            self._first, self._newest = (now, value), now
            return True
        ms, samples = self._ms, self._samples
        while samples and now - samples[0][0] >= ms:
            self._first = first = samples.popleft()
        if now - self._newest >= self._apart:
            samples.append((now, value))
            self._newest = now
        began, before = first
        elapsed = now - began
        if not elapsed or elapsed < ms:
            return True
        self._answer = exceeds = abs(value - before) * 1000 / elapsed > self._limit - deadband
        return not exceeds


class StaleTag:
    """No value for so long that is not bad."""

    names = _NO_NAMES
    limit: float | None = None
    error = ""
    quick = None

    def __init__(self, seconds: float) -> None:
        self.due: int | None = None
        self.bands = (EVERYWHERE, EVERYWHERE)
        self.each = False
        self._ms = int(seconds * 1000)

    def holds(self, look: Look) -> bool | None:
        self.due = None
        if look.active and look.tag.value is None:  # as after a restart
            return None
        if is_stale := look.now - look.tag.seen >= self._ms:
            self.bands = (NOWHERE, NOWHERE)
        else:
            self.bands = (EVERYWHERE, EVERYWHERE)
            self.due = look.tag.seen + self._ms
        self.each = is_stale
        return is_stale


def _differs(value: Value, before: Value, deadband: float) -> bool:
    if isinstance(value, _NUMBER) and isinstance(before, _NUMBER):
        return abs(value - before) > deadband
    return value != before


def _around(reference: Value, deadband: float) -> Band:
    if isinstance(reference, _NUMBER):
        return reference - deadband, reference + deadband
    return NOWHERE
