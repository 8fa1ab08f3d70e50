"""All WebSockets of this process: who watches what, and one timer that sends it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from console import metrics
from console.live.alarms import Alarms
from console.live.client import Client, Transport
from console.live.device_rows import DeviceRows
from console.live.last_known import LastKnown
from console.live.shares import MOST_SOCKETS, Share
from console.live.shares import MOST_TOPICS as MOST_OF_A_PERSON
from console.live.subscriptions import Subscriptions
from console.live.values import Values
from console.live.wheel import TICKS, Wheel
from nexus.contract import topic as topics
from nexus.mqtt import is_filter
from nexus.process import supervisor
from nexus.process.clock import now_ms

MOST_CLIENTS = 10_000
MOST_TOPICS = 200_000  # that are watched in all
MOST_OF_A_CLIENT = 1_000  # topics, and device paths
DEFAULT_RATE, HIGHEST_RATE = 2, 10
_DEVICE = "device:"
_LONGEST = 2_000  # bytes of a topic: the database has no longer one
_LATE_TICKS = 10  # a loop that was held up for longer does not make up for it


class Hub:
    """Clients, the values that they watch, and the devices."""

    def __init__(
        self,
        values: Values,
        subscriptions: Subscriptions,
        last_known: LastKnown,
        devices: DeviceRows,
        alarms: Alarms,
    ) -> None:
        self._values = values
        self._subscriptions = subscriptions
        self._last_known = last_known
        self._devices = devices
        self._alarms = alarms
        self._clients: set[Client] = set()
        self._shares: dict[str, Share] = {}  # of those who have a socket
        self._wheel = Wheel()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def is_full(self) -> bool:
        """Whether no more clients are taken."""
        return len(self._clients) >= MOST_CLIENTS

    def has_enough(self, person: str | None) -> bool:
        """Whether this person has all the sockets that one may have."""
        return person in self._shares and self._shares[person].sockets >= MOST_SOCKETS

    @contextmanager
    def client(self, transport: Transport, person: str | None) -> Iterator[Client]:
        """A client as long as the block runs; None where there are no logins, and each client is a person."""
        share = Share() if person is None else self._shares.setdefault(person, Share())
        share.sockets += 1
        client = Client(transport, DEFAULT_RATE, share)
        self._clients.add(client)
        self._wheel.add(client)
        self._filled.set()
        metrics.sockets.set(len(self._clients))
        try:
            yield client
        finally:
            client.is_open = False
            self._clients.discard(client)
            metrics.sockets.set(len(self._clients))
            for topic in list(client.topics):
                self._unwatch(client, topic)
            share.sockets -= 1
            if person is not None and not share.sockets:
                del self._shares[person]

    def subscribe(self, client: Client, name: str) -> str | None:
        """Adds a topic, or `device:` with a path; gives what is wrong with it."""
        if len(client.topics) + len(client.prefixes) >= MOST_OF_A_CLIENT:
            return f"a socket takes {MOST_OF_A_CLIENT:,} topics and paths: open another, or unsubscribe from some"
        if name.startswith(_DEVICE):
            client.prefixes.add(name.removeprefix(_DEVICE))
            client.seen_devices = 0
            return None
        if name in client.topics:
            return None
        if not name.startswith(topics.ROOT) or not _is_topic(name):
            return f"{name[:100]!r} is neither a tag's topic, like dev/plant/line1/plc001/temperature, nor device:PATH"
        if (fault := self._too_many(client, name)) is not None:
            return fault
        watched = self._values.watch(name)
        client.watch(watched)
        client.share.topics += 1
        self._subscriptions.need(name)
        if not watched.changed:
            self._last_known.want(name)
        return None

    def _too_many(self, client: Client, name: str) -> str | None:
        if client.share.topics >= MOST_OF_A_PERSON:
            return f"one person can watch {MOST_OF_A_PERSON:,} topics: unsubscribe from some, on any of your sockets"
        if self._values.get(name) is None and len(self._values) >= MOST_TOPICS:
            return "too many topics are watched here: try again later, or another replica of the console"
        return None

    def unsubscribe(self, client: Client, name: str) -> None:
        """Takes away what was added, if it was."""
        if name.startswith(_DEVICE):
            client.prefixes.discard(name.removeprefix(_DEVICE))
        else:
            self._unwatch(client, name)

    def _unwatch(self, client: Client, topic: str) -> None:
        if (watched := client.unwatch(topic)) is not None:
            client.share.topics -= 1
            self._subscriptions.release(topic)
            self._values.unwatch(watched)
            if not watched.watchers:
                self._last_known.forget(topic)

    def watch_alarms(self, client: Client, *, wanted: bool) -> None:
        """Whether it is sent all that are not normal, and then each change."""
        if wanted:
            client.watch_alarms(self._alarms.last_change)
        else:
            client.alarms_since = None

    def say(self, frame: bytes) -> None:
        """Sends a frame to all."""
        for client in self._clients:
            client.say(frame)

    async def run(self) -> None:
        """Sends to each client at its rate."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if not self._clients:
                self._filled.clear()
                await self._filled.wait()
                due = clock()
            due = max(due + 1 / TICKS, clock() - _LATE_TICKS / TICKS)
            await asyncio.sleep(due - clock())
            self._turn()

    def send(self, client: Client) -> bool:
        """Sends to one client what it lacks; tells whether a frame was left out instead."""
        return client.send(self._values.last_change, self._devices, self._alarms, now_ms())

    def _turn(self) -> None:
        clients = self._wheel.turn()
        left_out = sum(supervisor.call("peer", self.send, client) is True for client in clients)
        metrics.frames.inc(len(clients) - left_out)
        if left_out:
            metrics.frames_dropped.inc(left_out)


def _is_topic(name: str) -> bool:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= _LONGEST and is_filter(name) and not {"+", "#"} & set(name)
