"""Which control messages (states, presence, subscriptions) the broker refuses. Pure.

A refused topic is excluded for a while. A broker that disconnects us instead of answering has us send one message at a
time: a topic that was unanswered alone at two disconnections is the culprit. Some brokers do both (Mosquitto 2.0), so
each disconnection is followed by a pause.
"""

from collections.abc import Collection
from typing import Any

from gateway.delivery.blocked_topics import LONGEST_SECONDS, MOST_TOPICS

STRIKES = 2  # the first disconnection may have had another cause
FIRST_SECONDS = 300.0  # until a refused topic is tried again: that may cost the connection, and no reading waits for it
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # after a disconnection, before anything but presence is sent
PATIENCE, PRESENCE_SECONDS = 60.0, 10.0


class ControlTopics:
    """What is unanswered, what is refused, and when to send nothing. `now` is the event loop's time; all is bounded."""

    def __init__(self) -> None:
        self.careful = False  # one message at a time, as the broker disconnected us over one
        self.urgent: str | None = None  # the topic of our presence, which is sent first
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
        """Whether a message is still unanswered."""
        return bool(self._unanswered)

    def forget(self, topic: str) -> None:
        """Nothing will be sent on this topic any more."""
        for known in (self._unanswered, self._strikes, self._denied):
            known.pop(topic, None)

    def may_send(self, now: float, *, others_suspected: bool) -> bool:
        """Whether what can wait may be sent now; after a disconnection not before readings are cleared of suspicion."""
        return now >= self._quiet_until and not (others_suspected and now < self._disconnected_at + PATIENCE)

    def is_excluded(self, topic: str, now: float) -> bool:
        """Whether sending on this topic might cost the connection."""
        until, _ = self._denied.get(topic, (now, 0.0))
        return until > now

    def is_presence_in_doubt(self, now: float) -> bool:
        """Whether our presence may have caused the last disconnection, so that nothing else should be tried now."""
        doubted = self.urgent in self._strikes and self.urgent not in self._denied
        return doubted and now < self._disconnected_at + PRESENCE_SECONDS

    def sent(self, topic: str) -> None:
        """A message leaves on this topic now."""
        if len(self._unanswered) < MOST_TOPICS:
            self._unanswered[topic] = None

    def answered(self, topic: str, now: float, *, taken: bool) -> bool:
        """The broker's answer; tells whether it is a new refusal."""
        self._unanswered.pop(topic, None)
        self._strikes.pop(topic, None)
        if taken:
            self._denied.pop(topic, None)
            return False
        self.refused_any = True
        return self._exclude(topic, now)

    def disconnected(self, now: float, *, excused: bool) -> list[str]:
        """The broker disconnected us over a topic; `excused` if a reading's is known to be the cause.

        Gives the topics that are found guilty.
        """
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
        """The broker disconnected us over this topic alone; tells whether that is new."""
        self._unanswered.pop(name, None)
        return self._exclude(name, now)

    def connection_lost(self, now: float) -> None:
        """The connection was lost for another reason, or over a refused message without a word of it."""
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
        """Tells whether the topic was not excluded before."""
        is_new = topic not in self._denied
        _, pause = self._denied.pop(topic, (now, FIRST_SECONDS))
        self._denied[topic] = (now + pause, min(LONGEST_SECONDS, 2 * pause))
        _bound(self._denied)
        return is_new


def _bound(topics: dict[str, Any]) -> None:
    """Drops the topic that was refused longest ago: it is tried again."""
    if len(topics) > MOST_TOPICS:
        del topics[next(iter(topics))]
