"""What a digest says of the notifications that it stands for. Pure."""

from collections import Counter

import msgspec

from console.notify.event import told_as
from nexus.contract.alarm import AlarmMessage

TOP = 10
_ORDER = {name: number for number, name in enumerate(("critical", "high", "medium", "low"))}


class Frequent(msgspec.Struct, frozen=True):
    """An alarm, and how many of the notifications were about it; its last event among them."""

    topic: str
    count: int
    priority: str
    text: str
    last: str


class Summary(msgspec.Struct, frozen=True):
    """How many, of what kind, when the first and the last happened (epoch ms), and the most frequent alarms."""

    count: int
    late: int
    alarms: int
    first: int
    last: int
    by_priority: dict[str, int]
    by_event: dict[str, int]
    top: tuple[Frequent, ...]


class Tally:
    """Adds up what a digest stands for; `now` (epoch ms) is the time of one whose events cannot be read."""

    def __init__(self, now: int) -> None:
        self.count = 0
        self._late = 0
        self._now = now
        self._times: tuple[int, int] | None = None
        self._newest: dict[str, AlarmMessage] = {}
        self._by_topic = Counter[str]()
        self._by_priority = Counter[str]()
        self._by_event = Counter[str]()

    def add(self, word: AlarmMessage | None, *, late: bool) -> None:
        """One more; None if its event cannot be read."""
        self.count += 1
        self._late += late
        if word is None:
            return
        at, topic = word.record.ts, word.topic
        first, last = self._times or (at, at)
        self._times = min(first, at), max(last, at)
        self._by_topic[topic] += 1
        self._by_priority[word.priority] += 1
        self._by_event[told_as(word) or word.event] += 1
        before = self._newest.get(topic)
        if before is None or before.record.ts <= at:
            self._newest[topic] = word

    def summary(self) -> Summary:
        """All so far."""
        first, last = self._times or (self._now, self._now)
        return Summary(
            self.count,
            self._late,
            len(self._by_topic),
            first,
            last,
            dict(self._by_priority),
            dict(self._by_event),
            tuple(map(self._frequent, sorted(self._by_topic, key=self._urgency)[:TOP])),
        )

    def _urgency(self, topic: str) -> tuple[int, int, str]:
        return _ORDER[self._newest[topic].priority], -self._by_topic[topic], topic

    def _frequent(self, topic: str) -> Frequent:
        newest = self._newest[topic]
        return Frequent(topic, self._by_topic[topic], newest.priority, newest.text, newest.event)
