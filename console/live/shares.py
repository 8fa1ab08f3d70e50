"""What one person may have of the live stream, so that there is some for everybody. Pure."""

MOST_SOCKETS = 50
MOST_TOPICS = 20_000  # over all these sockets
NAMES_A_SECOND = 5_000  # that are subscribed to or unsubscribed from
LONGEST_PAUSE = 10.0  # seconds


class Share:
    """One person's part: what the open sockets have together."""

    __slots__ = ("_free_at", "sockets", "topics")

    def __init__(self) -> None:
        self.sockets = self.topics = 0
        self._free_at = float("-inf")

    def pause(self, names: int, now: float) -> float:
        """Seconds until more is heeded of a person who has just named so many topics."""
        self._free_at = min(max(self._free_at, now) + names / NAMES_A_SECOND, now + LONGEST_PAUSE)
        return self._free_at - now
