"""Processes a device's readings: derived tags, counts, alarms, and report by exception."""

from collections.abc import Callable, Collection

from gateway import metrics
from gateway.alarms.polled import PolledAlarms
from gateway.config.devices import ConfiguredDevice
from gateway.derived.derivation import Derivation
from gateway.polling.tally import Cause, Tally
from nexus.contract.reading import Quality, Reading
from nexus.contract.totals import Totals
from nexus.process.clock import now_ms
from nexus.readings.report import Changes

OnScan = Callable[[ConfiguredDevice, list[Reading]], None]

_UNCERTAIN = int(Quality.UNCERTAIN)


class Intake:
    """The readings of one device, on their way to `on_scan`; `totals` are those of its derived tags."""

    def __init__(
        self,
        one: ConfiguredDevice,
        on_scan: OnScan,
        *,
        tally: Tally,
        alarms: PolledAlarms | None = None,
        totals: Totals | None = None,
    ) -> None:
        self._one, self._on_scan, self._tally, self._alarms = one, on_scan, tally, alarms
        self._derivation = Derivation(one, {} if totals is None else totals) if one.derived else None
        reports = {tag.name: tag.report for tag in one.device.tags if tag.report is not None}
        reports |= {tag.name: tag.report for tag in one.derived if tag.report is not None}
        self._changes = Changes(reports)
        self._reports = bool(reports)
        self._metrics = metrics.device(one.device.name)
        self._share = 1 + len(one.derived) / len(one.device.tags)
        self._unread = 0.0  # part of a reading

    def take(self, readings: list[Reading], bad: int) -> None:
        """Takes readings from the device, of which so many are bad."""
        if self._derivation is not None:
            readings = self._derivation.after(readings)
        self._tally.read(readings, now_ms())
        if self._alarms is not None:
            self._alarms.read(readings)
        self._publish(readings, bad)

    def mark(self, readings: list[Reading]) -> None:
        """Takes bad readings of tags that the device did not deliver."""
        if self._derivation is not None:
            readings = self._derivation.after(readings)
        self._tally.marked(readings, now_ms())
        bad = [reading for reading in readings if reading.quality < _UNCERTAIN]
        if self._alarms is not None:
            self._alarms.marked(bad)  # totals are only uncertain now, and would pass for a sign of life
        self._publish(readings, len(bad))

    def unread(self, cause: Cause, count: int, now: int) -> None:
        """So many of the device's tags were due and not read; of its derived tags the same share counts as missing."""
        self._unread += count * self._share
        whole = int(self._unread)
        self._unread -= whole
        self._tally.unread(cause, whole, now)

    def lost(self, reason: str) -> None:
        """The device cannot be reached; its tags are marked bad after this."""
        if self._alarms is not None:
            self._alarms.lost(reason)

    def silent(self, now: int) -> set[str]:
        """Tags of which nothing was sent for their `max_silence`, at `now` (epoch ms)."""
        return set(self._changes.silent(now))

    def confirm(self, silent: Collection[str]) -> None:
        """A device that reports changes reports none: totals go on, and `silent` tags are confirmed unchanged."""
        if self._derivation is not None:
            readings = self._derivation.tick(silent)
            self._tally.read(readings, now_ms())
            if self._alarms is not None and not self._alarms.is_lost:  # which these readings are no sign of
                self._alarms.marked(readings)
            self._publish(readings, 0)

    def _publish(self, readings: list[Reading], bad: int) -> None:
        self._metrics.readings += len(readings)
        if bad:
            self._metrics.bad_readings += bad
        if self._reports:
            readings = self._changes.worth_sending(readings)
        if readings:
            self._tally.sent(readings, now_ms())
            self._on_scan(self._one, readings)
