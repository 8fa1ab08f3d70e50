"""Interprets PUBACKs in one place, for live and replayed messages: decides, counts and logs."""

import asyncio
from enum import Enum

from gateway import metrics
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.outbox import Wanted
from nexus import mqtt
from nexus.process import log

PATIENCE_SECONDS = 30.0  # after an outage, for the broker's subscribers to reconnect too


class Verdict(Enum):
    """What becomes of a message."""

    TAKEN = "taken"
    NO_SUBSCRIBERS = "no matching subscribers: it is kept and sent again"
    TOO_LARGE = "larger than the broker takes: it is sent in parts, from the disk"
    DENIED = "the topic is denied: it waits on the disk"
    REFUSED = "refused for good: it is dropped"


def verdict(code: int, *, keep_unmatched: bool) -> Verdict:
    """By the PUBACK's reason code. Pure."""
    if code == mqtt.NO_MATCHING_SUBSCRIBERS and keep_unmatched:
        return Verdict.NO_SUBSCRIBERS
    if code < mqtt.REFUSED:
        return Verdict.TAKEN
    if code == mqtt.PACKET_TOO_LARGE:
        return Verdict.TOO_LARGE
    return Verdict.DENIED if mqtt.is_denied(code) else Verdict.REFUSED


class Acknowledgements:
    """Interprets the PUBACKs for one outbox. Messages that are sent again are counted again."""

    def __init__(self, wanted: Wanted, blocked: BlockedTopics) -> None:
        self._wanted, self._blocked = wanted, blocked
        self._was_connected = False
        self._patience_until = float("-inf")
        self._said: set[str] = set()
        self._log = log.get("publisher")
        self._clock = asyncio.get_running_loop().time

    def connected(self) -> None:
        """Called on each connection. After an outage subscribers may still be reconnecting, as we were."""
        if self._was_connected:
            self._patience_until = self._clock() + PATIENCE_SECONDS
        self._was_connected = True

    def take(self, topic: str, code: int, messages: int) -> Verdict:
        """What the PUBACKs of so many messages mean. The caller counts what is TAKEN, a batch at once: see `taken`."""
        found = verdict(code, keep_unmatched=code == mqtt.NO_MATCHING_SUBSCRIBERS and self._keep_unmatched)
        if found is Verdict.REFUSED:
            self.refuse(topic, mqtt.reason(code), messages=messages)
        elif found is Verdict.DENIED:
            reason = mqtt.reason(code)
            metrics.refused.labels(reason).inc(messages)
            if self._blocked.deny(topic, self._clock()):
                self._log.error("the broker denies a topic, readings wait: check its ACL", topic=topic, reason=reason)
        return found

    @property
    def _keep_unmatched(self) -> bool:
        """Whether messages without matching subscribers are kept and sent again."""
        return self._wanted != "never" or self._clock() < self._patience_until

    def refuse(
        self, topic: str, reason: str, text: str = "the broker refuses messages", messages: int = 1, **details: int
    ) -> None:
        """Counts messages that the broker will not take, and logs each reason once."""
        metrics.refused.labels(reason).inc(messages)
        if reason not in self._said:
            self._said.add(reason)
            self._log.error(text, topic=topic, reason=reason, **details)

    @staticmethod
    def taken(messages: int) -> None:
        """Counts messages that the broker took."""
        metrics.published.inc(messages)
