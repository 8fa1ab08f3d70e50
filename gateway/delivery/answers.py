"""What a broker's answer to a message means: decided, counted and said at one point, for live ones and the disk's."""

import asyncio
from enum import Enum

from gateway import metrics
from gateway.delivery.aside import Aside
from gateway.delivery.backlog import Backlog
from nexus import mqtt
from nexus.process import log


class Verdict(Enum):
    """What becomes of a message."""

    TAKEN = "taken"
    UNHEARD = "nobody was there to get it: it is kept"
    TOO_LARGE = "the disk gives it in parts"
    DENIED = "the topic is denied: it waits"
    REFUSED = "it will never be taken: keeping it would help nobody"


def verdict(code: int, *, keeps_unheard: bool) -> Verdict:
    """By the PUBACK's reason code. Pure."""
    if code == mqtt.NOBODY and keeps_unheard:
        return Verdict.UNHEARD
    if code < mqtt.REFUSED:
        return Verdict.TAKEN
    return Verdict.DENIED if mqtt.is_denied(code) else Verdict.REFUSED


class Answers:
    """Takes the answers for one backlog's messages. What is sent again is counted again."""

    def __init__(self, backlog: Backlog, aside: Aside) -> None:
        self._backlog, self._aside = backlog, aside
        self._said: set[str] = set()
        self._log = log.get("publisher")
        self._clock = asyncio.get_running_loop().time

    def take(self, topic: str, code: int) -> Verdict:
        """What an answer means. Those TAKEN are for the caller to count, many at once: see `taken`."""
        found = verdict(code, keeps_unheard=self._backlog.keeps_unheard)
        if found is Verdict.REFUSED:
            self.refuse(topic, mqtt.reason(code))
        elif found is Verdict.DENIED:
            reason = mqtt.reason(code)
            metrics.refused.labels(reason).inc()
            if self._aside.deny(topic, self._clock()):
                self._log.error("the broker denies a topic: its readings wait", topic=topic, reason=reason)
        return found

    def refuse(self, topic: str, reason: str, text: str = "the broker refuses messages", **details: int) -> None:
        """Counts a message that will not leave, and says so once a reason."""
        metrics.refused.labels(reason).inc()
        if reason not in self._said:
            self._said.add(reason)
            self._log.error(text, topic=topic, reason=reason, **details)

    @staticmethod
    def taken(messages: int) -> None:
        """Counts messages that the broker took for somebody."""
        metrics.published.inc(messages)

    @staticmethod
    def lost(readings: int) -> None:
        """Counts readings of messages that were refused for good."""
        metrics.dropped.labels("refused").inc(readings)
