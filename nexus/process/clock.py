"""Clocks shared by everything; schedules use the event loop's own."""

import time

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """UTC, in milliseconds since the epoch: what readings and messages carry."""
    return int(time.time() * 1000)


def boottime() -> float:
    """Seconds, including those in which the machine was suspended: for leases, which expire meanwhile."""
    return time.clock_gettime(_BOOTTIME)
