"""Epoch milliseconds, which the broker's messages have, and the API's times. Pure."""

from datetime import UTC, datetime

from console.historian import times

_LATEST = int(times.LATEST.timestamp()) * 1000 - 1


def text(ms: float) -> str:
    """As the API writes it; what a gateway's clock makes of it is kept within what can be written."""
    return times.text(datetime.fromtimestamp(min(max(ms, 0), _LATEST) / 1000, UTC))


def of(moment: datetime) -> int:
    """Of a moment with its zone."""
    return round(moment.timestamp() * 1000)


def milliseconds(text: str) -> int:
    """Of a time as the API writes it."""
    return of(datetime.fromisoformat(text))
