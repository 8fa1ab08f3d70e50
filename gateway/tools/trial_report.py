"""The results of a trial of alarms as text: a line per occurrence, a table, and EEMUA 191's figures. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from gateway.tools.oneshot import table
from gateway.tools.trial import PERIOD_MS, Occurrence, Sum, Trial
from nexus.contract.reading import Value

MANAGEABLE = 1  # alarms in ten minutes, on average; EEMUA 191
FLOOD = 10  # in ten minutes

_DAY_MS = 86_400_000
_WHOLE = 0.99  # of the time that was asked for: the first and the last reading are not at its very ends
_UNITS = ((_DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def line(path: str, occurrence: Occurrence) -> str:
    """One occurrence: when, which alarm, the value, and how long."""
    definition = occurrence.definition
    limit = "" if occurrence.limit is None else f", limit {occurrence.limit:g}"
    end = "still stands" if occurrence.end is None else f"for {length(occurrence.end - occurrence.start)}"
    name = name_of(path, definition.tag, definition.name)
    return f"{moment(occurrence.start)}  {name} ({definition.priority}): {shown(occurrence.value)}{limit}, {end}"


def summary(trials: Sequence[Trial], start: datetime, end: datetime) -> list[str]:
    """Each alarm, the most frequent first, and how many of them operators would have had to answer.

    Rates are by the time from the first reading to the last, however much was asked for.
    """
    rows = [
        _row(name_of(trial.configured.device.path, *key), found, trial.alarms.chattering.get(key, 0), _history([trial]))
        for trial in trials
        for key, found in sorted(trial.sums.items(), key=lambda item: -item[1].raised)
    ]
    rows.sort(key=lambda row: -int(row[0]))
    header = ("raised", "a day", "longest", "of the time", "chattering", "hidden", "alarm")
    return ["", *table([header, *rows]), "", *_load(trials, round((end - start).total_seconds() * 1000))]


def _history(trials: Sequence[Trial]) -> int:
    """The time from the first reading to the last in ms."""
    first = min((trial.first for trial in trials if trial.first is not None), default=0)
    return max((trial.last for trial in trials), default=0) - first


def _row(name: str, found: Sum, chattering: int, ms: int) -> tuple[str, ...]:
    a_day = f"{found.raised * _DAY_MS / ms:.1f}" if ms >= _DAY_MS else "–"
    share = f"{found.total / ms:.1%}" if ms else "–"
    longest = length(found.longest) if found.raised else ""
    return f"{found.raised}", a_day, longest, share, f"{chattering}", f"{found.hidden}", name


def _load(trials: Sequence[Trial], asked: int) -> list[str]:
    periods = sum((trial.periods for trial in trials), Counter[int]())
    readings = sum(trial.readings for trial in trials)
    if not readings:
        return [f"{periods.total()} alarms", "the database has no readings of these tags for that time"]
    ms = _history(trials)
    short = f", not of the {length(asked)} asked for" if ms < asked * _WHOLE else ""
    said = f"{periods.total()} alarms, from {readings} readings of {length(ms)}{short}"
    lines = [said, _average(periods.total(), ms)]
    if periods:
        worst, count = periods.most_common(1)[0]
        flood = f" (a flood: more than {FLOOD})" if count > FLOOD else ""
        lines.append(f"in ten minutes, at most: {count}{flood}, from {moment(worst * PERIOD_MS)}")
    return lines


def _average(alarms: int, ms: int) -> str:
    if ms < _DAY_MS:
        return "in ten minutes, on average: a history of less than a day is too short to judge"
    average = alarms * PERIOD_MS / ms
    verdict = "manageable" if average <= MANAGEABLE else f"too many, {MANAGEABLE} is manageable"
    return f"in ten minutes, on average: {average:.2f} ({verdict})"


def name_of(path: str, tag: str, name: str) -> str:
    """An alarm's name as operators read it."""
    return f"{path}/{tag}/{name}" if tag else f"{path}/{name}"


def moment(ms: int) -> str:
    """In this machine's time zone."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def length(ms: int) -> str:
    """Like 850 ms, 12.5 s, 4 min 10 s, 3 h 5 min, 2 d 4 h."""
    if ms < 60_000:
        return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.3g} s"
    (big, name), (small, part) = next(pair for pair in pairwise(_UNITS) if ms >= pair[0][0])
    whole, rest = divmod(ms, big)
    return f"{whole} {name} {rest // small} {part}" if rest >= small else f"{whole} {name}"


def shown(value: Value) -> str:
    """A value on a line: six digits of a number, forty characters of a text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value!s:.40}"
