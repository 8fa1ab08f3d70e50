"""Keeps readings from before and after an outage of a device apart in time. Pure."""

from collections.abc import Iterable

from nexus.contract.reading import Reading


class Gap:
    """Keeps what was known before and after a gap on its own side of it, whatever a device's clock says.

    Times in epoch ms.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._begun: dict[str, int] = {}  # for tags without a reading since then

    def begin(self, moment: int, tags: Iterable[str]) -> dict[str, int]:
        """The device was last heard at `moment`; gives each tag's time for the bad reading that marks the gap."""
        self._begun = {tag: max(moment, self._newest.get(tag, 0) + 1) for tag in tags}
        return dict(self._begun)

    def after(self, readings: list[Reading]) -> list[Reading]:
        """The readings, with the first of each tag after a gap moved behind it if necessary."""
        if self._begun:
            readings = [self._moved(reading) for reading in readings]
        self._newest.update((reading.tag, reading.time) for reading in readings)
        return readings

    def _moved(self, reading: Reading) -> Reading:
        begun = self._begun.get(reading.tag)
        if begun is None:
            return reading
        del self._begun[reading.tag]
        return reading if reading.time > begun else Reading(reading.tag, begun + 1, reading.value, reading.quality)
