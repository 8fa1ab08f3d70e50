"""Our own clock."""

import time


def clock() -> float:
    """Seconds, also those that the machine slept: whoever was suspended must not think that no time has passed."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
