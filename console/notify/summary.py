"""What a digest says of the notifications that it stands for. Pure."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from console.notify.event import told_as
from nexus.contract.alarm import AlarmMessage

TOP = 10


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


def summary(words: Sequence[AlarmMessage], late: int) -> Summary:
    """Of at least one."""
    times = [word.record.ts for word in words]
    by_topic = Counter(word.topic for word in words)
    newest: dict[str, AlarmMessage] = {}
    for word in sorted(words, key=lambda one: one.record.ts):
        newest[word.topic] = word
    order = {name: number for number, name in enumerate(("critical", "high", "medium", "low"))}
    first = sorted(by_topic, key=lambda topic: (order[newest[topic].priority], -by_topic[topic], topic))[:TOP]
    return Summary(
        len(words),
        late,
        len(by_topic),
        min(times),
        max(times),
        dict(Counter(word.priority for word in words)),
        dict(Counter(told_as(word) or word.event for word in words)),
        tuple(
            Frequent(topic, by_topic[topic], newest[topic].priority, newest[topic].text, newest[topic].event)
            for topic in first
        ),
    )
