"""Clocks that everything shares; schedules use the event loop's own."""

import time

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """UTC, in milliseconds since the epoch: what readings and messages carry."""
    return int(time.time() * 1000)


def boottime() -> float:
    """Seconds, including those that the machine slept: for leases, which run out meanwhile."""
    return time.clock_gettime(_BOOTTIME)
