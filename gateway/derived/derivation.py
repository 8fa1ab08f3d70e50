"""Derived tags in the poller: calculates them, and counts and logs what cannot be calculated."""

from collections.abc import Collection

from gateway import metrics
from gateway.config.devices import ConfiguredDevice
from nexus.contract.reading import Reading
from nexus.contract.totals import Totals
from nexus.process import log
from nexus.process.clock import now_ms
from nexus.readings.calculation import Calculation


class Derivation:
    """The derived tags of one device; `kept` has its totals."""

    def __init__(self, one: ConfiguredDevice, kept: Totals) -> None:
        self._calculation = Calculation(one.derived, kept)
        self._failing: set[str] = set()
        self._metrics = metrics.device(one.device.name)
        self._log = log.get("derived").bind(device=one.device.name)

    def after(self, readings: list[Reading]) -> list[Reading]:
        """The readings, and those of derived tags that follow from them."""
        return readings + self._noted(self._calculation.after(readings, now_ms()))

    def tick(self, silent: Collection[str]) -> list[Reading]:
        """While a device that tells of changes is silent: its totals, and those tags that are `silent` for too long."""
        return self._noted(self._calculation.tick(silent, now_ms()))

    def _noted(self, made: list[Reading]) -> list[Reading]:
        faults = self._calculation.faults
        self._metrics.expression_faults = self._calculation.fault_count
        if faults.keys() != self._failing:
            for tag in faults.keys() - self._failing:
                self._log.warning("an expression has no result", tag=tag, reason=faults[tag])
            for tag in self._failing - faults.keys():
                self._log.info("an expression has a result again", tag=tag)
            self._failing = set(faults)
        return made
