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
        self._samples = deque[tuple[int, float]]()
        self._reading: Reading | None = None  # the last one, and what it said
        self._answer: bool | None = None

    def __len__(self) -> int:
        return len(self._samples)

    def holds(self, look: Look) -> bool | None:
        if look.tag.reading is None or look.tag.reading is self._reading:
            return self._answer
        self._reading, self._answer = look.tag.reading, None
        if (value := look.tag.number) is None:
            return None
        now, samples = look.now, self._samples
        while len(samples) > 1 and now - samples[1][0] >= self._ms:
            samples.popleft()
        if not samples or now - samples[-1][0] >= self._ms / MOST_SAMPLES:
            samples.append((now, value))
        began, first = samples[0]
        if now > began and now - began >= self._ms:
            rate = abs(value - first) * 1000 / (now - began)
            self._answer = rate > (self._limit - self._deadband if look.active else self._limit)
        return self._answer


class StaleTag:
    """No value for so long that is not bad."""

    names = _NO_NAMES
    limit: float | None = None
    error = ""

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
