"""Rates and quantiles over the last few seconds, from what the metrics count."""

from collections.abc import Iterable, Sequence
from math import inf

from gateway import metrics

Bucket = tuple[float, float]  # an upper bound, and how many observations are not above it


def quantile(share: float, buckets: Sequence[Bucket]) -> float | None:
    """As Prometheus computes it: linear within a bucket, at most the highest bound; None without observations."""
    rank = share * buckets[-1][1] if buckets else 0.0
    if not rank:
        return None
    low, below = 0.0, 0.0
    for high, count in buckets:
        if count >= rank:
            return low if high == inf else low + (high - low) * (rank - below) / (count - below)
        low, below = high, count
    return low


def since(before: Iterable[Bucket], now: Iterable[Bucket]) -> list[Bucket]:
    """The observations between two moments."""
    return [(bound, count - was) for (bound, count), (_, was) in zip(now, before, strict=True)]


class Vitals:
    """Measured from one call to the next. `now` in seconds."""

    def __init__(self, now: float) -> None:
        self._now, self._readings, self._lateness = now, metrics.readings(), _lateness()

    def take(self, now: float) -> tuple[float, float | None]:
        """Readings a second, and the 99th percentile of the lateness of scans in seconds, since the call before."""
        readings, lateness, seconds = metrics.readings(), _lateness(), now - self._now
        # Readings of devices that are no longer polled here are not counted.
        rate = max(0, readings - self._readings) / seconds if seconds > 0 else 0.0
        late = quantile(0.99, since(self._lateness, lateness))
        self._now, self._readings, self._lateness = now, readings, lateness
        return round(rate, 1), late


def _lateness() -> list[Bucket]:
    [family] = metrics.lateness.collect()
    return [(float(sample.labels["le"]), sample.value) for sample in family.samples if sample.name.endswith("_bucket")]
