"""Metrics of a spool: what it holds, how fast it drains, and when it will be full."""

from math import inf, isfinite

from gateway import metrics
from gateway.delivery.spool import Spool


class SpoolGauges:
    """The gauges of the gateway's own spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._size: int | None = None
        self._rate = 0.0  # readings a second that leave the disk
        self._full_in = inf  # seconds, at the recent pace

    def show(self) -> None:
        """Makes the metrics report this spool."""
        metrics.spool_readings.set_function(lambda: self._spool.contents.readings)
        metrics.spool_bytes.set_function(lambda: self._spool.contents.size)
        metrics.spool_oldest.set_function(lambda: self._kept() or 0.0)
        metrics.spool_drain.set_function(self._drain)
        metrics.spool_loss.set_function(self._loss)

    def sent(self, readings: int, seconds: float) -> None:
        """So many messages left the disk in `seconds`."""
        self._rate += (readings / seconds - self._rate) * (0.1 if self._rate else 1)

    def idle(self) -> None:
        """Nothing leaves the disk."""
        self._rate = 0.0

    async def show_growth(self, seconds: float, *, failing: bool) -> None:
        """When it is full, at the pace of the last `seconds`; now, while the disk is `failing`. Raises SpoolError."""
        size, before = self._spool.contents.size, self._size
        self._size = size
        left = inf
        if before is not None and size > before:
            left = await self._spool.room() / ((size - before) / seconds)
        self._full_in = 0.0 if failing else left
        metrics.spool_full.set(self._full_in)

    @property
    def full_in(self) -> float | None:
        """In how many seconds the spool or its disk is full; None while it does not grow."""
        return self._full_in if isfinite(self._full_in) else None

    def _kept(self) -> float | None:
        """For how many seconds it has the oldest message."""
        oldest = self._spool.contents.oldest
        return (self._spool.clock - oldest) / 1000 if oldest is not None else None

    def _loss(self) -> float:
        """In how many seconds the oldest message is lost, if it stays."""
        kept = self._kept()
        return inf if kept is None else max(0.0, min(self._full_in, self._spool.max_age - kept))

    def _drain(self) -> float:
        readings = self._spool.contents.readings
        return 0.0 if not readings else readings / self._rate if self._rate else inf
