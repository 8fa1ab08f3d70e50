"""Is this reading worth sending? Report by exception, per tag. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan

from nexus.contract.reading import Reading

_NoNumber = bool | str | None  # a deadband means nothing to these: they are sent on each change


@dataclass(frozen=True, slots=True)
class Report:
    """When a tag is reported: beyond `deadband` (of the tag's unit, or with `relative` a fraction of the last value
    sent; 0 is any change), and at least every `max_silence` seconds.
    """

    deadband: float = 0.0
    relative: bool = False
    max_silence: float | None = None


class Changes:
    """Remembers what was sent last of each tag that has a report; all other tags are always sent."""

    def __init__(self, reports: Mapping[str, Report]) -> None:
        self._reports = reports
        self._sent: dict[str, Reading] = {}

    def worth_sending(self, readings: Iterable[Reading]) -> list[Reading]:
        """The readings to send, which are taken as sent."""
        return [reading for reading in readings if self._is_news(reading)]

    def silent(self, time: int) -> list[str]:
        """Tags of which nothing was sent for their `max_silence`, at `time` (epoch ms)."""
        return [
            tag
            for tag, report in self._reports.items()
            if report.max_silence is not None
            and ((last := self._sent.get(tag)) is None or _is_long(time - last.time, report.max_silence))
        ]

    def _is_news(self, reading: Reading) -> bool:
        report = self._reports.get(reading.tag)
        if report is None:
            return True
        last = self._sent.get(reading.tag)
        if last is not None and not _differs(reading, last, report):
            return False
        self._sent[reading.tag] = reading
        return True


def _differs(reading: Reading, last: Reading, report: Report) -> bool:
    if reading.quality != last.quality:
        return True
    if report.max_silence is not None and _is_long(reading.time - last.time, report.max_silence):
        return True
    value, before = reading.value, last.value
    if value == before:
        return False
    if isinstance(value, _NoNumber) or isinstance(before, _NoNumber):
        return True
    if isnan(value) and isnan(before):
        return False
    band = report.deadband * abs(before) if report.relative else report.deadband
    return not abs(value - before) <= band


def _is_long(milliseconds: int, seconds: float) -> bool:
    """Also if the clock was set back by as much."""
    return abs(milliseconds) >= seconds * 1000
