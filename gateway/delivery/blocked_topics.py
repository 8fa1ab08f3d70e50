"""Topics that are not sent for a while, so that they neither hold up the others nor cost the connection. Pure."""

from collections.abc import Collection, Iterable

MOST_TOPICS = 10_000
FIRST_SECONDS, LONGEST_SECONDS = 60.0, 14_400.0  # until a denied topic is tried again
AGAIN_SECONDS = 30.0  # after a denial, before the next trial: it may have cost the connection
SUSPECT_SECONDS = 60.0  # how long a suspect may stay without a message on disk to try it with


class BlockedTopics:
    """Topics that the broker denies, that are suspected, or that have no subscribers; each set is bounded.

    When a broker disconnects us instead of denying a topic, every topic in flight is suspected and tried on its own.
    Messages of suspected and denied topics wait on the disk. `now` is the event loop's time.
    """

    def __init__(self) -> None:
        self._denied: dict[str, tuple[float, float]] = {}  # blocked until, and for how long the next time
        self._suspects: dict[str, float] = {}  # suspected since
        self._unmatched: set[str] = set()
        self._trial: str | None = None
        self._again_at = float("-inf")  # when the next denied topic may be tried
        self.denials = 0
        self.blocks_any = False  # whether live messages of some topic have to wait

    @property
    def denied(self) -> Collection[str]:
        """The topics that the broker denies."""
        return self._denied.keys()

    @property
    def topics(self) -> list[str]:
        """All topics that the replay leaves on disk for now."""
        return [*self._denied, *self._suspects, *self._unmatched]

    @property
    def has_suspects(self) -> bool:
        """Whether some topics are still to be tried on their own."""
        return bool(self._suspects)

    def blocks(self, topic: str) -> bool:
        """Whether live messages of this topic have to wait."""
        return topic in self._denied or topic in self._suspects

    def deny(self, topic: str, now: float) -> bool:
        """The broker denies this topic; tells whether that is new."""
        self.denials += 1
        until, pause = self._denied.get(topic, (0.0, FIRST_SECONDS))
        is_new = topic not in self._denied
        if until > now or (is_new and len(self._denied) >= MOST_TOPICS):
            return False
        self._denied[topic] = (now + pause, min(LONGEST_SECONDS, 2 * pause))
        self._again_at = now + AGAIN_SECONDS
        self._suspects.pop(topic, None)
        self._update()
        return is_new

    def no_subscribers(self, topic: str) -> None:
        """The topic has no subscribers."""
        if len(self._unmatched) < MOST_TOPICS:
            self._unmatched.add(topic)

    def may_have_subscribers(self) -> None:
        """Subscribers may have come back."""
        self._unmatched.clear()

    def connected(self, now: float) -> None:
        """A new connection, perhaps new rights: denied topics are due, unless one may have cost the last one."""
        if now >= self._again_at:
            self._denied = {topic: (now, pause) for topic, (_, pause) in self._denied.items()}

    def suspect(self, under_way: Iterable[str], now: float) -> str | None:
        """The broker disconnected us over a topic; gives the one that is proven to be the cause."""
        if (guilty := self._trial) is not None:
            self._trial = None
            self.deny(guilty, now)
            return guilty
        for topic in under_way:
            if len(self._suspects) < MOST_TOPICS and topic not in self._denied:
                self._suspects[topic] = now
        self._update()
        return None

    def trial(self, now: float) -> str | None:
        """The topic to try next, alone in flight; None if there is none."""
        due = None
        if now >= self._again_at:
            due = next((topic for topic, (until, _) in self._denied.items() if until <= now), None)
        self._trial = next(iter(self._suspects), due)
        return self._trial

    def finish_trial(self, topic: str, *, taken: bool, now: float) -> None:
        """The result of a trial."""
        self._trial = None
        self._suspects.pop(topic, None)
        if taken:
            self._denied.pop(topic, None)
        else:
            self.deny(topic, now)
        self._update()

    def _update(self) -> None:
        self.blocks_any = bool(self._denied or self._suspects)

    def skip_trial(self, topic: str, now: float) -> None:
        """No message is on disk to try the topic with: it is another's turn. One that stays without is forgotten."""
        self._trial = None
        since = self._suspects.pop(topic, None)
        if since is not None and now - since < SUSPECT_SECONDS:
            self._suspects[topic] = since
        elif since is None:
            self._denied.pop(topic, None)
        self._update()

    def release(self, topic: str, now: float) -> None:
        """No more readings come on this topic: it is tried with what the disk has, and forgotten if that is nothing."""
        if topic in self._denied:
            self._denied[topic] = (now, self._denied[topic][1])
