"""The newest value of each topic that somebody watches. Pure."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from console.historian.values import quality_name
from nexus.contract.codec import Message
from nexus.contract.reading import Quality, Value

LATEST_AHEAD_MS = 3_600_000  # a clock this far ahead is wrong, and would hide newer values
LONGEST_TEXT = 5_000  # characters that are shown of a text; the database has the whole
_EXACT_INT = 2**53  # beyond this a browser loses digits
_GOOD = int(Quality.GOOD)

_encode = msgspec.json.Encoder().encode


class Watched:
    """One topic: its newest value, as `json` once somebody has asked, and the number of its last change (0: none)."""

    __slots__ = ("_json", "changed", "quality", "time", "topic", "unit", "value", "watchers")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.time = 0  # epoch ms
        self.value: Value = None
        self.quality = ""
        self.unit: str | None = None
        self.changed = 0
        self.watchers = 0
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """`[topic, time, value, quality, unit]`; made once, however many watch."""
        if self._json is None:
            value = self.value
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                value = f"{value[:LONGEST_TEXT]}…"
            elif isinstance(value, int) and not -_EXACT_INT <= value <= _EXACT_INT:
                value = str(value)
            row = [self.topic, self.time, value, self.quality]
            self._json = _encode(row if self.unit is None else [*row, self.unit])
        return self._json

    def set(self, time: int, value: Value, quality: str, unit: str | None, number: int) -> None:
        """Takes a newer value; `number` counts the changes of all topics."""
        self.time, self.value, self.quality = time, value, quality
        if unit is not None:
            self.unit = unit
        self.changed, self._json = number, None


class Values:
    """Those that are watched, each as long as somebody does. `last_change` is the number of the newest change."""

    def __init__(self) -> None:
        self.last_change = 0
        self._topics: dict[str, Watched] = {}
        self._of_device: defaultdict[str, dict[str, Watched]] = defaultdict(dict)  # by topic, and by tag

    def __len__(self) -> int:
        return len(self._topics)

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def get(self, topic: str) -> Watched | None:
        """A topic that is watched."""
        return self._topics.get(topic)

    def watch(self, topic: str) -> Watched:
        """One more watches it."""
        if (watched := self._topics.get(topic)) is None:
            watched = self._topics[topic] = Watched(topic)
            device, _, tag = topic.rpartition("/")
            self._of_device[device][tag] = watched
        watched.watchers += 1
        return watched

    def unwatch(self, watched: Watched) -> None:
        """One fewer does; with the last the topic is forgotten."""
        watched.watchers -= 1
        if not watched.watchers:
            device, _, tag = watched.topic.rpartition("/")
            del self._topics[watched.topic], self._of_device[device][tag]
            if not self._of_device[device]:
                del self._of_device[device]

    def take(self, message: Message, now_ms: int) -> None:
        """Takes what is watched of a message, unless it is older than what is there: gateways send their spool late."""
        values = message.values
        if (alone := self._topics.get(message.topic)) is not None and "" in values:
            self._take_one(alone, message, "", now_ms)
        for tag, watched in self._of_device.get(message.topic, _NONE).items():
            if tag in values:
                self._take_one(watched, message, tag, now_ms)

    def _take_one(self, watched: Watched, message: Message, tag: str, now_ms: int) -> None:
        time = message.times.get(tag, message.time)
        if watched.time <= time <= now_ms + LATEST_AHEAD_MS:
            quality = message.qualities.get(tag, _GOOD)
            self._set(watched, time, message.values[tag], quality_name(quality), message.units.get(tag))

    def known(self, topic: str, time: int, value: Value, quality: str, unit: str | None) -> None:
        """Takes a value from the database, unless a newer one has come."""
        watched = self._topics.get(topic)
        if watched is not None and watched.time < time:
            self._set(watched, time, value, quality, unit)

    def _set(self, watched: Watched, time: int, value: Value, quality: str, unit: str | None) -> None:
        self.last_change += 1
        watched.set(time, value, quality if value is not None else "bad", unit, self.last_change)


_NONE: dict[str, Watched] = {}
