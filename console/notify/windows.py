"""Days of the week and hours of the day, in a time zone. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]|24):([0-5]\d)")


@dataclass(frozen=True)
class Window:
    """On `days` (0 is Monday), from `start` to `stop`; one that ends before it begins goes on after midnight."""

    days: frozenset[int] = frozenset(range(7))
    start: time = time(0)
    stop: time = time(0)

    def holds(self, now: datetime, zone: ZoneInfo) -> bool:
        """Whether `now` is in it. What goes on after midnight belongs to the day on which it began."""
        local = now.astimezone(zone)
        at, day = local.time(), local.weekday()
        if self.start < self.stop:
            return day in self.days and self.start <= at < self.stop
        if at >= self.start and day in self.days:
            return True
        return at < self.stop and (local - timedelta(days=1)).weekday() in self.days


def read_days(names: Sequence[str]) -> frozenset[int]:
    """`mon`, `sat-sun`, `fri-mon`. Raises ValueError that says how to write them."""
    found: set[int] = set()
    for name in names:
        first, _, last = name.strip().lower().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{name!r:.40} is no day: write {', '.join(DAYS)}, or a range like mon-fri")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


def read_hours(text: str) -> tuple[time, time]:
    """`06:00-14:00`, `22:00-06:00`. Raises ValueError that says how to write them."""
    match = _HOURS.fullmatch(text.strip())
    if match is None or (match[3] == "24" and match[4] != "00"):
        raise ValueError(f"{text!r:.40} are no hours: write them like 06:00-14:00 or 22:00-06:00")
    start, stop = time(int(match[1]), int(match[2])), time(int(match[3]) % 24, int(match[4]))
    if start == stop and match[3] != "24":
        raise ValueError("these hours begin when they end: leave them out for the whole day")
    return start, stop
