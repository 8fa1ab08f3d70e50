"""Readings dropped on their way: counted in the metrics at once, and by topic and hour for the devices' tallies."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import NamedTuple

from gateway import metrics
from gateway.delivery.batch import Batch
from gateway.polling.tally import by_hour
from nexus.contract import codec, topic
from nexus.contract.codec import DecodeError
from nexus.contract.completeness import HOUR_MS

_MOST_WAITING = 100_000  # messages; they are fetched every second


class Drop(NamedTuple):
    """One batch: its topic, its first number, and its readings by the hour of their times."""

    topic: str
    first: int
    hours: Mapping[int, int]


class Drops:
    """Takes drops in any thread, until they are fetched."""

    def __init__(self) -> None:
        self._waiting: deque[Drop] = deque(maxlen=_MOST_WAITING)

    def add(self, reason: str, batch: Batch) -> None:
        """A batch is dropped; `reason` as the metric has it."""
        metrics.dropped.labels(reason).inc(batch.count)
        if batch.topic.startswith(topic.ROOT):
            self._waiting.append(Drop(batch.topic, batch.first, _hours(batch)))

    def take(self) -> list[Drop]:
        """What was dropped since the last call."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


def _hours(batch: Batch) -> Mapping[int, int]:
    if batch.readings:
        return by_hour(batch.readings)
    try:
        return Counter(time // HOUR_MS for time in codec.times(batch.payload))
    except DecodeError:  # from a damaged disk
        return {}
