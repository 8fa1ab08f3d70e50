"""Whether the condition of an alarm holds, by the value of its tag and those of others. Pure."""

from collections.abc import Mapping
from math import inf, nextafter

from nexus.alarms.definition import (
    Above,
    AlarmDefinition,
    Bad,
    Below,
    Changed,
    Equals,
    Limit,
    Lost,
    Outside,
    Rate,
    Stale,
    Unchanged,
    When,
)
from nexus.alarms.expression import EvaluationError, Expression
from nexus.alarms.look import EVERYWHERE, UNCERTAIN, Band, Evaluator, Look
from nexus.alarms.timed import ChangedValue, RateWindow, StaleTag, UnchangedValue
from nexus.contract.reading import Value

_NO_NAMES = frozenset[str]()


def evaluator(definition: AlarmDefinition, before: Value = None) -> Evaluator:
    """`before` is the value with which the alarm was raised, if it was active when we began."""
    found: Evaluator
    match definition.condition:
        case Above() | Below() | Outside() as condition:
            found = _limits(condition, definition.deadband)
        case Equals(value):
            found = _EqualValue(value)
        case Changed():
            found = ChangedValue(definition.deadband)
        case Rate(limit, over):
            found = RateWindow(limit, over, definition.deadband)
        case Unchanged(seconds):
            found = UnchangedValue(seconds, definition.deadband, before)
        case Stale(seconds):
            found = StaleTag(seconds)
        case Bad():
            found = _BadQuality()
        case When(expression):
            found = Truth(expression)
        case Lost():
            found = LostDevice()
    return found


def _limits(condition: Above | Below | Outside, deadband: float) -> Evaluator:
    match condition:
        case Above(limit):
            return _Limits(-inf, limit, deadband)
        case Below(limit):
            return _Limits(limit, inf, deadband)
        case Outside(low, high):
            return _Limits(low, high, deadband)


class Truth:
    """Whether an expression is true."""

    due: int | None = None
    limit: float | None = None
    bands = (EVERYWHERE, EVERYWHERE)
    each = False
    quick = None

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self.names = expression.names
        self.error = ""

    def holds(self, look: Look) -> bool | None:
        """None without all values, or if `error` says why not."""
        self.error = ""
        if not self.names <= look.values.keys():
            return None
        try:
            return self.expression.is_true(look.values)
        except EvaluationError as error:
            self.error = str(error)
            return None


class LostDevice:
    """Whether the device cannot be reached."""

    names = _NO_NAMES
    due: int | None = None
    limit: float | None = None
    error = ""
    bands = (EVERYWHERE, EVERYWHERE)
    each = False
    quick = None

    def holds(self, look: Look) -> bool | None:
        return look.loss is not None


class _BadQuality:
    names = _NO_NAMES
    due: int | None = None
    limit: float | None = None
    error = ""
    bands = (EVERYWHERE, EVERYWHERE)  # of values that are not bad
    each = False
    quick = None

    def holds(self, look: Look) -> bool | None:
        return None if look.tag.reading is None else look.tag.reading.quality < UNCERTAIN


class _EqualValue:
    names = _NO_NAMES
    due: int | None = None
    limit: float | None = None
    error = ""
    each = False
    quick = None

    def __init__(self, value: Value) -> None:
        self.bands = (EVERYWHERE, EVERYWHERE)
        self._value = value

    def holds(self, look: Look) -> bool | None:
        if (value := look.tag.value) is None:
            return None
        wanted = self._value
        if not isinstance(value, str) and wanted is not None and not isinstance(wanted, str):
            self.bands = (_around(value, wanted, wanted),) * 2
        return value == wanted


class _Limits:
    """Whether the value is below `low` or above `high`."""

    due: int | None = None
    error = ""
    each = False
    quick = None

    def __init__(self, low: Limit, high: Limit, deadband: float) -> None:
        self.names = frozenset(limit for limit in (low, high) if isinstance(limit, str))
        self.limit: float | None = None
        self.bands = (EVERYWHERE, EVERYWHERE)
        self._low, self._high, self._deadband = low, high, deadband

    def holds(self, look: Look) -> bool | None:
        value, low, high = look.tag.number, _number(self._low, look.values), _number(self._high, look.values)
        if value is None or low is None or high is None:
            return None
        self.limit = high if value - high > low - value else low
        narrow = low + self._deadband, high - self._deadband
        self.bands = _around(value, low, high), _around(value, *narrow)
        if look.active:
            low, high = narrow
        return not low <= value <= high


def _number(limit: Limit, values: Mapping[str, Value]) -> float | None:
    found = values.get(limit) if isinstance(limit, str) else limit
    if isinstance(found, bool):
        return int(found)  # as it is said: a limit is a number
    return None if isinstance(found, str) else found


def _around(value: float, low: float, high: float) -> Band:
    """The values on the same side of both."""
    if value > high:
        return nextafter(high, inf), inf
    return (-inf, nextafter(low, -inf)) if value < low else (low, high)
