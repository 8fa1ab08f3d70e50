"""What we subscribe to on the broker: what somebody watches, and nothing else."""

import asyncio
from collections import Counter
from contextlib import suppress
from itertools import islice

from nexus import mqtt
from nexus.contract import topic as topics
from nexus.mqtt import SubscriptionError
from nexus.process import log

LINGER_SECONDS = 5.0  # a filter that nobody needs any more: a page that is loaded again wants the same
AT_ONCE = 100  # requests that wait for the broker's answer
_LOOK_SECONDS = 1.0


def filters(topic: str) -> list[str]:
    """A tag's value comes on its own topic, or with others on its device's."""
    device = topic.rpartition("/")[0]
    return [topic, device] if device.startswith(topics.ROOT) else [topic]


class Subscriptions:
    """Counts who needs which filter, and brings the broker's side in line with that."""

    def __init__(self) -> None:
        self._needed: Counter[str] = Counter()
        self._held: set[str] = set()
        self._dirty: dict[str, float] = {}  # filters to look at, and not before then
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("live")
        self._refused = False

    def need(self, topic: str) -> None:
        """One more watches this topic."""
        for one in filters(topic):
            self._needed[one] += 1
            if one not in self._held:
                self._dirty[one] = 0.0
                self._wake.set()

    def release(self, topic: str) -> None:
        """One fewer does."""
        for one in filters(topic):
            self._needed[one] -= 1
            if not self._needed[one]:
                del self._needed[one]
                self._dirty[one] = self._clock() + LINGER_SECONDS

    async def begin(self, connection: mqtt.Connection) -> None:
        """Subscribes, on a new connection, to all that is needed. Raises MqttError."""
        self._held.clear()
        self._dirty = dict.fromkeys(self._needed, 0.0)
        while due := self._due():
            await asyncio.gather(*[self._settle(connection, one) for one in due])

    async def run(self, connection: mqtt.Connection) -> None:
        """Subscribes and unsubscribes for as long as the connection lasts. Raises MqttError."""
        while True:
            self._wake.clear()
            while due := self._due():
                await asyncio.gather(*[self._settle(connection, one) for one in due])
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    def _due(self) -> list[str]:
        """Filters to look at now, of as many as wait a part."""
        now = self._clock()
        return list(islice((one for one, when in self._dirty.items() if when <= now), AT_ONCE))

    async def _settle(self, connection: mqtt.Connection, one: str) -> None:
        del self._dirty[one]
        is_needed = one in self._needed
        if is_needed == (one in self._held):
            return
        if not is_needed:
            self._held.discard(one)
            await connection.unsubscribe(one)
            return
        self._held.add(one)
        try:
            await connection.subscribe(one, at_most_once=True)
        except SubscriptionError as error:
            if not self._refused:
                self._refused = True
                self._log.error("the broker refuses a subscription: check its ACL", reason=str(error))
