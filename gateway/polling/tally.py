"""Counts a device's readings by the hour of their times: per scan, so that all counts add up. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Literal

import msgspec

from nexus.contract.completeness import HOUR_MS, MOST_ROWS, Counts
from nexus.contract.reading import Reading

Cause = Literal["away", "resting", "overran"]

_KEPT_HOURS = 2  # hours that are still counted, the current one included
_MISSING_HOURS = 48  # hours for which missing readings are remembered
_MOST_HOURS = 5_000  # hours of one device; beyond that the oldest are dropped
_time = attrgetter("time")


class Hour(msgspec.Struct):
    """What was counted of one hour from `since` (epoch ms) on; `serial` tells it from an earlier count of the same."""

    serial: int
    since: int
    read: int = 0
    marked: int = 0
    sent: int = 0
    repeated: int = 0
    receipted: int = 0
    dropped: int = 0
    away: int = 0
    resting: int = 0
    overran: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether everything that was sent has arrived, or is known to be dropped."""
        return self.receipted + self.dropped >= self.sent

    @property
    def missing(self) -> int:
        """Readings that were due and will not come."""
        return self.away + self.resting + self.overran + self.dropped


class Tally:
    """One device's counts. `now` is epoch ms."""

    def __init__(self) -> None:
        self.hours: dict[int, Hour] = {}
        self._let_go_of: Counter[int] = Counter()  # what was missing in earlier hours
        self._changed: dict[int, None] = {}
        self._serial = 0
        self._high = -1  # the newest time so far
        self._newest: dict[str, int] = {}  # by tag, where the tags of a scan have times of their own

    def read(self, readings: Sequence[Reading], now: int) -> None:
        """The device delivered these readings, of any quality."""
        for number, count in by_hour(readings).items():
            self._hour(number, now).read += count

    def marked(self, readings: Sequence[Reading], now: int) -> None:
        """These bad readings stand in for ones that the device did not deliver."""
        for number, count in by_hour(readings).items():
            self._hour(number, now).marked += count

    def sent(self, readings: Sequence[Reading], now: int) -> None:
        """These readings are sent."""
        if not readings:
            return
        times = set(map(_time, readings))
        if len(times) == 1 and (time := readings[0].time) > self._high:  # the usual case: nothing can be repeated
            self._high = time
            self._hour(time // HOUR_MS, now).sent += len(readings)
            return
        for number, count in by_hour(readings).items():
            self._hour(number, now).sent += count
        self._high = max(self._high, *times)
        for number, count in Counter(self._repeated(readings)).items():
            self._hour(number, now).repeated += count

    def unread(self, cause: Cause, count: int, now: int) -> None:
        """So many readings were due, and are not read."""
        if count:
            hour = self._hour(now // HOUR_MS, now)
            setattr(hour, cause, getattr(hour, cause) + count)

    def dropped(self, counts: Mapping[int, int], now: int) -> None:
        """So many of those sent were lost on the way, by hour."""
        for number, count in counts.items():
            self._hour(number, now).dropped += count

    def settled(self, number: int, hour: Hour, sent: int) -> None:
        """Of an hour, what had been `sent` at some moment has arrived, or is dropped."""
        receipted = max(hour.receipted, sent - hour.dropped)
        if receipted != hour.receipted and self.hours.get(number) is hour:
            hour.receipted = receipted
            self._changed[number] = None

    def missing(self, first: int) -> int:
        """Readings of the hours from number `first` on that were due and will not come; of some two days at most."""
        hours, gone = list(self.hours.items()), list(self._let_go_of.items())  # may be called in another thread
        return sum(hour.missing for number, hour in hours if number >= first) + sum(
            count for number, count in gone if number >= first
        )

    def watched(self, now: int) -> None:
        """The device was monitored until `now`, whether or not it reported anything."""
        self._hour(now // HOUR_MS, now)

    def rows(self, run: str, now: int) -> list[Counts]:
        """What has changed since the last call, and may be said in one message. Hours that are over are let go."""
        numbers = list(self._changed)[:MOST_ROWS]
        for number in numbers:
            del self._changed[number]
        found = [_counts(number, self.hours[number], run, now) for number in numbers]
        self._let_go(now)
        return found

    def _let_go(self, now: int) -> None:
        oldest = now // HOUR_MS - _KEPT_HOURS + 1
        past = [number for number in self.hours if number < oldest and number not in self._changed]
        for number in [one for one in past if self.hours[one].is_settled]:
            if missing := self.hours.pop(number).missing:
                self._let_go_of[number] += missing
        for number in [one for one in self._let_go_of if one < oldest - _MISSING_HOURS]:
            del self._let_go_of[number]
        while len(self.hours) > _MOST_HOURS:
            number = min(self.hours)
            del self.hours[number]
            self._changed.pop(number, None)

    def _hour(self, number: int, now: int) -> Hour:
        self._changed[number] = None
        if (hour := self.hours.get(number)) is None:
            self._serial += 1
            hour = self.hours[number] = Hour(self._serial, now)
        return hour

    def _repeated(self, readings: Sequence[Reading]) -> Iterator[int]:
        """The hours of readings with the same tag and time as the one before."""
        for reading in readings:
            if self._newest.get(reading.tag) == reading.time:
                yield reading.time // HOUR_MS
            self._newest[reading.tag] = reading.time


def by_hour(readings: Sequence[Reading]) -> Mapping[int, int]:
    """The number of readings in each hour."""
    times = set(map(_time, readings))
    if len(times) == 1:  # the usual case: a scan has one time
        return {times.pop() // HOUR_MS: len(readings)}
    return Counter(reading.time // HOUR_MS for reading in readings)


def _counts(number: int, hour: Hour, run: str, now: int) -> Counts:
    return Counts(
        number * HOUR_MS,
        f"{run}{hour.serial:x}",
        hour.since,
        max(now, hour.since),
        hour.read,
        hour.marked,
        hour.sent,
        hour.repeated,
        hour.receipted,
        hour.dropped,
        hour.away,
        hour.resting,
        hour.overran,
    )
