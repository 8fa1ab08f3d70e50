"""Short versions, so that they can be run each time; NEXUS_CHAOS=full gives them their whole length."""

import os

FULL = os.environ.get("NEXUS_CHAOS") == "full"


def lasting(short: float, full: float) -> float:
    return full if FULL else short
