"""How many notifications one receiver gets, and when a summary takes their place. Pure: `now` is an argument."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Digest:
    """More than `above` within `within` are told as one."""

    above: int
    within: timedelta


@dataclass(frozen=True)
class Plan:
    """What to do with those that are due: send so many one by one, or make a digest of all, or wait until a moment."""

    single: int = 0
    is_digest: bool = False
    until: datetime | None = None


SETTLE = timedelta(seconds=5)  # so long late ones wait for each other


@dataclass(frozen=True)
class Load:
    """Of a receiver: `due` wait, `late` of them of events long past; `sent` left one by one in the rule's window until
    now."""

    due: int
    late: int
    sent: int
    last_digest: datetime | None


def plan(now: datetime, load: Load, rule: Digest | None) -> Plan:
    """At most `above` single ones and one digest leave in each window, so that a flood of thousands is a handful."""
    if rule is None or load.due == 0:
        return Plan(single=load.due)
    left = max(0, rule.above - load.sent)
    if load.due <= left and load.late < 2:
        return Plan(single=load.due)
    if load.last_digest is None or now - load.last_digest >= rule.within:
        return Plan(is_digest=True)
    return Plan(single=load.due) if load.due <= left else Plan(until=load.last_digest + rule.within)
