"""What a spool holds, as metrics."""

from math import inf

from gateway import metrics
from gateway.delivery.spool import Spool


class Gauges:
    """Of the gateway's own spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._size: int | None = None

    def show(self, rate: float) -> None:
        """What is in it, and how long it takes to send that at `rate` readings a second."""
        contents = self._spool.contents
        metrics.spool_readings.set(contents.readings)
        metrics.spool_bytes.set(contents.size)
        kept = self._spool.clock - contents.oldest if contents.oldest is not None else 0
        metrics.spool_oldest.set(kept / 1000)
        left = contents.readings / rate if rate else inf
        metrics.spool_drain.set(left if contents.readings else 0)

    async def show_growth(self, seconds: float, *, failing: bool) -> None:
        """When it will be full, at the pace of the last `seconds`; and when the oldest message is lost, if it stays.

        It is full now while the disk is `failing`. Raises SpoolError.
        """
        size, before = self._spool.contents.size, self._size
        self._size = size
        left = inf
        if before is not None and size > before:
            left = await self._spool.room() / ((size - before) / seconds)
        left = 0.0 if failing else left
        metrics.spool_full.set(left)
        oldest = self._spool.contents.oldest
        kept = self._spool.max_age - (self._spool.clock - oldest) / 1000 if oldest is not None else inf
        metrics.spool_loss.set(max(0.0, min(left, kept)))
