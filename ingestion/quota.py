"""How much may be set aside: rejects must not fill the disk that the readings need."""

from collections.abc import Iterable
from time import monotonic

from ingestion import metrics
from ingestion.batch import Reject
from nexus.runtime import log

DAY_SECONDS = 86_400.0
SAID_AGAIN_SECONDS = 3_600.0
_ROW_BYTES = 200


class Quota:
    """So many rows and bytes a day, all at once if need be. What is beyond is counted, and gone."""

    def __init__(self, rows: float = float("inf"), size: float = float("inf")) -> None:
        self._most = (rows, size)
        self._left = [rows, size]
        self._asked = monotonic()
        self._said = float("-inf")

    def admitted(self, rejects: Iterable[Reject]) -> list[Reject]:
        """Those of the rejects that there is room for."""
        return [one for one in rejects if self._admits(one)]

    def returned(self, rejects: Iterable[Reject]) -> None:
        """They were admitted, and not stored: they will come again."""
        for one in rejects:
            self._left = [
                min(most, left + cost) for most, left, cost in zip(self._most, self._left, (1, _size(one)), strict=True)
            ]

    def _admits(self, reject: Reject) -> bool:
        now = monotonic()
        passed, self._asked = (now - self._asked) / DAY_SECONDS, now
        self._left = [min(most, left + most * passed) for most, left in zip(self._most, self._left, strict=True)]
        size = _size(reject)
        if self._left[0] >= 1 and self._left[1] >= size:
            self._left = [self._left[0] - 1, self._left[1] - size]
            return True
        metrics.rejects_dropped.inc()
        if now - self._said > SAID_AGAIN_SECONDS:
            self._said = now
            log.get("rejects").error(
                "too much cannot be stored: beyond the day's quota it is not kept either (NEXUS_REJECTS_ROWS, _MB)",
                topic=reject.topic[:200],
                reason=reject.reason[:200],
            )
        return False


def _size(reject: Reject) -> int:
    return _ROW_BYTES + len(reject.payload) + sum(map(len, reject.tags or ()))
