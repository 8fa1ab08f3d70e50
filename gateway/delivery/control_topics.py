"""Topics of what we say beside the readings, such as states and presence, that the broker refuses. Pure.

One that is refused is left out for a while. Where a broker hangs up instead of answering, words are said one at a time:
one that was out alone twice when it did is the one. Some do both (Mosquitto 2.0), so after a hang-up there is a pause.
"""

from collections.abc import Collection
from typing import Any

from gateway.delivery.blocked_topics import LONGEST_SECONDS, MOST_TOPICS

STRIKES = 2  # the broker may have hung up over something else
FIRST_SECONDS = 300.0  # until a refused one is said again: it may cost the connection, and no reading waits for it
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # after it hung up, before anything but presence is said again
PATIENCE, PRESENCE_SECONDS = 60.0, 10.0


class ControlTopics:
    """What is out, what is refused, and when to say no more. `now` is the event loop's time; all is bounded."""

    def __init__(self) -> None:
        self.careful = False  # one at a time, as the broker has hung up over one
        self.urgent: str | None = None  # our presence, which is said first
        self._unanswered: dict[str, None] = {}
        self._strikes: dict[str, int] = {}
        self._denied: dict[str, tuple[float, float]] = {}  # until when, and how long the next time
        self.refused_any = False  # on this connection
        self._quiet_until = self._disconnected_at = float("-inf")
        self._pause = FIRST_PAUSE

    @property
    def denied(self) -> Collection[str]:
        """The topics that the broker refuses."""
        return self._denied.keys()

    @property
    def has_unanswered(self) -> bool:
        """Whether there is something that is not answered."""
        return bool(self._unanswered)

    def forget(self, topic: str) -> None:
        """Nobody here will say this any more."""
        for known in (self._unanswered, self._strikes, self._denied):
            known.pop(topic, None)

    def may_send(self, now: float, *, others_suspected: bool) -> bool:
        """Whether it is time to say anything that can wait; for a while also until others are cleared of suspicion."""
        return now >= self._quiet_until and not (others_suspected and now < self._disconnected_at + PATIENCE)

    def is_excluded(self, topic: str, now: float) -> bool:
        """Whether saying this would have the broker hang up."""
        until, _ = self._denied.get(topic, (now, 0.0))
        return until > now

    def is_presence_in_doubt(self, now: float) -> bool:
        """Whether the broker may just have hung up over our presence, so that nothing else should be tried now."""
        doubted = self.urgent in self._strikes and self.urgent not in self._denied
        return doubted and now < self._disconnected_at + PRESENCE_SECONDS

    def sent(self, topic: str) -> None:
        """This leaves now."""
        if len(self._unanswered) < MOST_TOPICS:
            self._unanswered[topic] = None

    def answered(self, topic: str, now: float, *, taken: bool) -> bool:
        """The broker's answer; tells whether it is a refusal that is new."""
        self._unanswered.pop(topic, None)
        self._strikes.pop(topic, None)
        if taken:
            self._denied.pop(topic, None)
            return False
        self.refused_any = True
        return self._exclude(topic, now)

    def disconnected(self, now: float, *, excused: bool) -> list[str]:
        """The broker ended the connection over a topic, `excused` if it is known to be another's; names the refused."""
        out = list(self._unanswered)
        is_known = excused or self.refused_any
        if out and not excused:
            self._pause_for_a_while(now)
        self.connection_lost(now)
        if is_known:
            return []
        guilty = []
        for topic in out:
            self._strikes[topic] = self._strikes.pop(topic, 0) + 1
            _bound(self._strikes)
            if self._strikes[topic] >= STRIKES and len(out) <= STRIKES and self._exclude(topic, now):
                guilty.append(topic)
        return guilty

    def deny(self, name: str, now: float) -> bool:
        """The broker has hung up over this alone; tells whether that is new."""
        self._unanswered.pop(name, None)
        return self._exclude(name, now)

    def connection_lost(self, now: float) -> None:
        """The connection is gone for another reason; or because of what was refused, though nothing says so."""
        if self.refused_any:
            self._pause_for_a_while(now)
        self._unanswered.clear()
        self.refused_any = False

    def _pause_for_a_while(self, now: float) -> None:
        if self._disconnected_at == now:
            return
        if now - self._disconnected_at > 2 * LONGEST_PAUSE:
            self._pause = FIRST_PAUSE
        self.careful, self._disconnected_at, self._quiet_until = True, now, now + self._pause
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def _exclude(self, topic: str, now: float) -> bool:
        """Tells whether that is new."""
        is_new = topic not in self._denied
        _, pause = self._denied.pop(topic, (now, FIRST_SECONDS))
        self._denied[topic] = (now + pause, min(LONGEST_SECONDS, 2 * pause))
        _bound(self._denied)
        return is_new


def _bound(topics: dict[str, Any]) -> None:
    """The one that was refused longest ago goes, and is tried again."""
    if len(topics) > MOST_TOPICS:
        del topics[next(iter(topics))]
