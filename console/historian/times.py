"""Times as the API writes them: RFC 3339, UTC, milliseconds. Pure."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)


def text(time: datetime) -> str:
    """Like 2026-11-26T12:00:00.000Z; `time` is in UTC, naive or not."""
    naive = time if time.tzinfo is None else time.replace(tzinfo=None)
    return naive.isoformat(timespec="milliseconds") + "Z"


def text_or_none(time: datetime | None) -> str | None:
    """The same, where there may be none; `time` is aware."""
    return None if time is None else text(time.astimezone(UTC))


def duration(seconds: float) -> str:
    """For people: 58 days, 3 hours."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(1, seconds):.0f} seconds"


def utc(time: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError outside of what the historian stores."""
    try:
        moment = time.astimezone(UTC)
    except OverflowError:
        moment = LATEST
    if not EARLIEST <= moment < LATEST:
        raise ValueError("must be from 1970 to 2999")
    return moment


def span(start: datetime | None, end: datetime | None, now: datetime, default: timedelta) -> tuple[datetime, datetime]:
    """The range asked for: up to now, and `default` long, where it is not said. Raises ValueError if it is empty."""
    until = end or (now if start is None or start < now else start + default)
    since = start or max(EARLIEST, until - default)
    if since >= until:
        raise ValueError(f"`from` ({text(since)}) must be before `to` ({text(until)})")
    return since, until


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "Factory"})


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError."""
    if name not in _names():
        raise ValueError(f"{name[:100]!r} is no time zone: write it like Europe/Berlin")
    return ZoneInfo(name)
