"""What we subscribe to on the broker: what somebody watches, and nothing else."""

import asyncio
from collections import Counter, OrderedDict
from contextlib import suppress
from itertools import islice

from nexus import mqtt
from nexus.contract import topic as topics
from nexus.mqtt import SubscriptionError
from nexus.process import log

LINGER_SECONDS = 5.0  # a filter that nobody needs any more: a page that is loaded again wants the same
MOST_LINGERING = 10_000  # of more the oldest are given up at once
AT_ONCE = 100  # requests that wait for the broker's answer
_LOOK_SECONDS = 1.0


def filters(topic: str) -> list[str]:
    """A tag's value comes on its own topic, or with others on its device's."""
    device = topic.rpartition("/")[0]
    return [topic, device] if device.startswith(topics.ROOT) else [topic]


class Subscriptions:
    """Counts who needs which filter, and brings the broker's side in line with that.

    What is remembered is what somebody needs or the broker holds, whether or not it is there.
    """

    def __init__(self) -> None:
        self._needed: Counter[str] = Counter()
        self._held: set[str] = set()
        self._wanted: OrderedDict[str, None] = OrderedDict()  # needed, and not held
        self._left: OrderedDict[str, float] = OrderedDict()  # held, and not needed; since when, the first first
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("live")
        self._refused = False

    @property
    def remembered(self) -> int:
        """Filters that are known here."""
        return len(self._needed.keys() | self._held | self._wanted.keys() | self._left.keys())

    def need(self, topic: str) -> None:
        """One more watches this topic."""
        for one in filters(topic):
            self._needed[one] += 1
            if one in self._held:
                self._left.pop(one, None)
            else:
                self._wanted[one] = None
                self._wake.set()

    def release(self, topic: str) -> None:
        """One fewer does."""
        for one in filters(topic):
            self._needed[one] -= 1
            if not self._needed[one]:
                del self._needed[one]
                self._wanted.pop(one, None)
                if one in self._held:
                    self._left[one] = self._clock()

    async def begin(self, connection: mqtt.Connection) -> None:
        """Subscribes, on a new connection, to all that is needed. Raises MqttError."""
        self._held.clear()
        self._left.clear()
        self._wanted = OrderedDict.fromkeys(self._needed)
        await self._settle(connection)

    async def run(self, connection: mqtt.Connection) -> None:
        """Subscribes and unsubscribes for as long as the connection lasts. Raises MqttError."""
        while True:
            self._wake.clear()
            await self._settle(connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    async def _settle(self, connection: mqtt.Connection) -> None:
        """Does all that is due, so many requests at a time."""
        while (over := self._over()) or self._wanted:
            wanted = list(islice(self._wanted, AT_ONCE - len(over)))
            for one in over:  # at once: by the time that these are asked, others may need or release the same
                del self._left[one]
                self._held.discard(one)
            for one in wanted:
                del self._wanted[one]
                self._held.add(one)
            await asyncio.gather(
                *[connection.unsubscribe(one) for one in over],
                *[self._subscribe(connection, one) for one in wanted],
            )

    def _over(self) -> list[str]:
        """Filters that have lingered for long enough, or are too many; no more than half of what is done at once."""
        long_ago, too_many = self._clock() - LINGER_SECONDS, len(self._left) - MOST_LINGERING
        oldest = enumerate(islice(self._left.items(), AT_ONCE // 2))
        return [one for number, (one, since) in oldest if since <= long_ago or number < too_many]

    async def _subscribe(self, connection: mqtt.Connection, one: str) -> None:
        try:
            await connection.subscribe(one, at_most_once=True)
        except SubscriptionError as error:
            if not self._refused:
                self._refused = True
                self._log.error("the broker refuses a subscription: check its ACL", reason=str(error))
