"""A device path below which no alarm is known, and those that may be meant. Pure."""

from collections.abc import Collection
from difflib import SequenceMatcher
from heapq import nsmallest

_FEW = 3


def is_below(device: str, path: str) -> bool:
    """Whether this is the device of that path, or one below it."""
    return f"{device}/".startswith(f"{path}/")


def unknown(path: str, devices: Collection[str]) -> str:
    """What to say about it; `devices` are those that have alarms."""
    said = f"--device: no alarm is known of {path!r:.200} or below it"
    if not devices:
        return f"{said}, nor of any other device: is a gateway with alarms running?"
    levels = set(path.split("/"))

    def distance(device: str) -> tuple[int, float]:
        return -len(levels & set(device.split("/"))), -SequenceMatcher(None, path, device).ratio()

    return f"{said}: the nearest that have alarms are {', '.join(nsmallest(_FEW, set(devices), key=distance))}"
