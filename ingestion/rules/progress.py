"""Until when nothing older is still to come: what the broker has kept for us comes before what we publish now. Pure.

Times in epoch ms; `clock` is in seconds, of any clock that goes on.
"""

FRESH_MS = 5_000  # an input of this age, from the broker's queue, shows that it has no older ones for us
MARK_SECONDS = 1.0  # one mark at most so often
SILENT_SECONDS = 30.0  # after which nothing is taken to be left, if no mark comes back either


class Progress:
    """Of one connection after the other. A mark is a message of our own: what the broker has kept comes before it."""

    def __init__(self) -> None:
        self._heard: float | None = None  # when the last message came; None without a subscription
        self._is_up_to_date = False
        self._until = 0  # when the last mark was published that has come back
        self._mark: tuple[bytes, int] | None = None  # the one that has not, and when it was published
        self._marked = float("-inf")
        self._returned = 0  # when the last mark came back
        self.waiting_since: int | None = None  # when the oldest message came that is not evaluated yet

    def subscribed(self, clock: float) -> None:
        """From now on the broker brings what there is."""
        self._heard, self._is_up_to_date, self._until = clock, False, 0
        self._mark, self._marked, self._returned = None, float("-inf"), 0

    def away(self) -> None:
        """There is no broker: nobody knows what it has for us."""
        self._heard = None

    def heard(self, clock: float) -> None:
        """A message has come."""
        if self._heard is not None:
            self._heard = clock

    def evaluated(self, newest: int, now: int, *, is_queued: bool) -> None:
        """An input of that time; `is_queued` is false for what brokers do not keep in order with the rest."""
        if newest < now - FRESH_MS:
            self._is_up_to_date = False
        elif is_queued and newest <= now + FRESH_MS:
            self._is_up_to_date = True

    def wants_mark(self, clock: float) -> bool:
        """Whether to publish a mark, and tell `marked`."""
        pause = MARK_SECONDS if self._mark is None else SILENT_SECONDS
        return self._heard is not None and not self._is_up_to_date and clock - self._marked >= pause

    def marked(self, payload: bytes, now: int, clock: float) -> None:
        """It is being published."""
        self._mark, self._marked = (payload, now), clock

    def returned(self, payload: bytes, now: int) -> None:
        """A message that may be the mark has come."""
        if self._mark is not None and self._mark[0] == payload:
            self._until, self._returned = self._mark[1], now
            self._mark, self._is_up_to_date = None, True

    def until(self, clock: float, now: int) -> int:
        """The moment before which nothing is to come any more, as far as one can tell; 0 if none."""
        if self._heard is None:
            return 0
        waiting = self.waiting_since
        if waiting is None:
            is_silent = clock - self._heard >= SILENT_SECONDS
            return now if self._is_up_to_date or is_silent else self._until
        if waiting <= self._returned:
            return 0  # what the broker had kept has come, and is not evaluated yet
        return min(waiting, now if self._is_up_to_date else self._until)

    def behind(self, now: int) -> float:
        """For how many seconds the oldest message has waited."""
        return 0.0 if self.waiting_since is None else max(0, now - self.waiting_since) / 1000
