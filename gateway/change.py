"""Is this reading worth sending? Report by exception, per tag. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan

from nexus.contract.reading import Reading


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
            and ((last := self._sent.get(tag)) is None or time - last.time >= report.max_silence * 1000)
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
    if report.max_silence is not None and reading.time - last.time >= report.max_silence * 1000:
        return True
    value, before = reading.value, last.value
    if not isinstance(value, int | float) or not isinstance(before, int | float):
        return value != before
    if value == before or (isnan(value) and isnan(before)):
        return False
    band = report.deadband * abs(before) if report.relative else report.deadband
    return not abs(value - before) <= band
