"""A quota for rejects: they must not fill the disk that the readings need."""

from collections.abc import Iterable
from time import monotonic

from ingestion import metrics
from ingestion.consume.batch import Reject
from nexus.process import log

DAY_SECONDS = 86_400.0
SAID_AGAIN_SECONDS = 3_600.0
_ROW_BYTES = 200
_SHARE = 4
_MOST_SOURCES = 10_000  # further sources share one source's quota


class Quota:
    """So many rows and bytes a day, all at once if need be. What is beyond is counted, and not kept.

    A publisher, or a topic without one, may have one and then so many until they are a quarter of what is left: the
    garbage of one leaves room for that of others.
    """

    def __init__(self, rows: float = float("inf"), size: float = float("inf")) -> None:
        self._most = (rows, size)
        self._left = [rows, size]
        self._taken: dict[int, tuple[float, float]] = {}  # today, by whom
        self._day = monotonic()
        self._asked = monotonic()
        self._said = float("-inf")

    def admitted(self, rejects: Iterable[Reject]) -> list[Reject]:
        """The rejects that fit into the quota."""
        return [one for one in rejects if self.admits(one)]

    def returned(self, rejects: Iterable[Reject]) -> None:
        """Returns the quota of rejects that were admitted but not stored: they will come again."""
        for one in rejects:
            cost = (1, _size(one))
            self._left = [min(most, left + more) for most, left, more in zip(self._most, self._left, cost, strict=True)]
            source = self._source(one)
            rows, size = self._taken.pop(source, (0, 0))
            if rows > 1:
                self._taken[source] = rows - 1, size - cost[1]

    def admits(self, reject: Reject) -> bool:
        """Takes quota for a reject; tells whether there was enough."""
        now = monotonic()
        if now - self._day > DAY_SECONDS:
            self._day = now
            self._taken.clear()
        passed, self._asked = (now - self._asked) / DAY_SECONDS, now
        self._left = [min(most, left + most * passed) for most, left in zip(self._most, self._left, strict=True)]
        size, source = _size(reject), self._source(reject)
        rows, taken = self._taken.get(source, (0, 0))
        share = _SHARE if rows else 1
        if (rows + 1) * share <= self._left[0] and (taken + size) * share <= self._left[1]:
            self._left = [self._left[0] - 1, self._left[1] - size]
            self._taken[source] = rows + 1, taken + size
            return True
        metrics.rejects_dropped.inc()
        if now - self._said > SAID_AGAIN_SECONDS:
            self._said = now
            log.get("rejects").error(
                "too many rejects: beyond NEXUS_REJECTS_ROWS or NEXUS_REJECTS_MB they are dropped, without a receipt",
                topic=reject.topic[:200],
                reason=reject.reason[:200],
            )
        return False

    def _source(self, reject: Reject) -> int:
        """Identifies the source by a hash: topics are long, and chosen by others."""
        source = hash(reject.publisher or reject.came_on)
        return source if source in self._taken or len(self._taken) < _MOST_SOURCES else 0


def _size(reject: Reject) -> int:
    return _ROW_BYTES + len(reject.payload) + sum(map(len, reject.tags or ()))
