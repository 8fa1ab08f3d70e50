"""One WebSocket: what it watches, and what it has been sent. Pure, but for the transport that it writes to."""

from bisect import bisect_right
from itertools import accumulate
from typing import Protocol

from console.live import epoch, frames
from console.live.alarms import Alarms
from console.live.device_rows import DeviceRows
from console.live.shares import Share
from console.live.values import Watched

MOST_BUFFERED = 65_536  # bytes that a client has not taken yet; until it has, it gets no more
MOST_OF_A_FRAME = 262_144  # bytes, about; what is more comes with the next one
MOST_DEVICES = MOST_ALARMS = 500  # of one frame, likewise
_FEW = 20  # rows that always go into one
SLOW = "this client reads too slowly: frames were left out"


class Transport(Protocol):
    """As asyncio has it."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...


class Client:
    """Gets the newest of what it watches, `rate` times a second at most, and never more than it takes."""

    __slots__ = (
        "_behind_since",
        "_fresh",
        "_transport",
        "alarms_since",
        "is_open",
        "prefixes",
        "rate",
        "seen",
        "seen_alarms",
        "seen_devices",
        "share",
        "topics",
    )

    def __init__(self, transport: Transport, rate: int, share: Share | None = None) -> None:
        self._transport = transport
        self.share = share or Share()
        self.is_open = True
        self.rate = rate
        self.topics: dict[str, Watched] = {}
        self.prefixes: set[str] = set()  # of device paths
        self.seen = self.seen_devices = 0  # the numbers of the last changes that it has been sent
        self._fresh: dict[Watched, None] = {}  # watched since the last frame, and so to be sent once as they are
        self.alarms_since: int | None = None  # the change after which it hears of normal ones, if it wants alarms
        self.seen_alarms = 0
        self._behind_since: int | None = None  # epoch ms

    def watch(self, watched: Watched) -> None:
        """It wants this topic, and first the value that is known."""
        self.topics[watched.topic] = watched
        self._fresh[watched] = None

    def unwatch(self, topic: str) -> Watched | None:
        """It does not want it any more; gives what it watched."""
        if (watched := self.topics.pop(topic, None)) is not None:
            self._fresh.pop(watched, None)
        return watched

    def watch_alarms(self, last_change: int) -> None:
        """It wants all alarms that are not normal, and then each change."""
        if self.alarms_since is None:
            self.alarms_since, self.seen_alarms = last_change, 0

    def send(self, last_change: int, devices: DeviceRows, alarms: Alarms, now_ms: int) -> bool:
        """Sends what has changed since the last time; tells whether frames were left out instead."""
        is_new = last_change > self.seen or devices.last_change > self.seen_devices or self._fresh
        if not (is_new or self._wants_alarms(alarms)) or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > MOST_BUFFERED:
            self._behind_since = self._behind_since or now_ms
            return True
        parts = [self._caught_up(now_ms)] if self._behind_since else []
        if rows := self._rows(last_change):
            parts.append(frames.values(rows))
        if states := self._states(devices):
            parts.append(frames.devices(states))
        if self._wants_alarms(alarms) and (changes := self._changes(alarms)):
            parts.append(frames.alarms(changes))
        if parts:
            self._transport.write(b"".join(parts) if len(parts) > 1 else parts[0])
        return False

    def say(self, frame: bytes) -> None:
        """Sends a frame beside the values, unless the client takes nothing."""
        if not self._transport.is_closing() and self._transport.get_write_buffer_size() <= MOST_BUFFERED:
            self._transport.write(frame)

    def _rows(self, last_change: int) -> list[bytes]:
        seen, self.seen = self.seen, last_change
        due = [watched for watched in self.topics.values() if watched.changed > seen]
        if self._fresh:
            due += [watched for watched in self._fresh if 0 < watched.changed <= seen]
            self._fresh.clear()
        rows = [watched.json for watched in due]
        if len(rows) > _FEW and sum(map(len, rows)) > MOST_OF_A_FRAME:
            sizes = list(accumulate(map(len, rows)))
            fits = max(1, bisect_right(sizes, MOST_OF_A_FRAME))
            self._fresh.update(dict.fromkeys(due[fits:]))  # these come with the next one
            return rows[:fits]
        return rows

    def _states(self, devices: DeviceRows) -> list[bytes]:
        seen, self.seen_devices = self.seen_devices, devices.last_change
        if not self.prefixes or seen == self.seen_devices:
            return []
        found = [(number, path) for number, path in devices.changed(seen) if self._wants(path)]
        if len(found) > MOST_DEVICES:
            found = found[-MOST_DEVICES:]  # those that changed first; the others come with the next frames
            self.seen_devices = found[0][0]
        return [devices.row(number, path) for number, path in found]

    def _wants_alarms(self, alarms: Alarms) -> bool:
        return self.alarms_since is not None and alarms.last_change > self.seen_alarms

    def _changes(self, alarms: Alarms) -> list[bytes]:
        found = list(alarms.changed(self.seen_alarms, self.alarms_since or 0))[
            -MOST_ALARMS:
        ]  # those that changed first
        self.seen_alarms = found[0].number if found else alarms.last_change
        return [one.row for one in reversed(found)]

    def _wants(self, path: str) -> bool:
        """Whether it watches the device, or what is above it; "" is all."""
        if "" in self.prefixes or path in self.prefixes:
            return True
        return any(path.startswith(f"{prefix}/") for prefix in self.prefixes)

    def _caught_up(self, now_ms: int) -> bytes:
        since, self._behind_since = self._behind_since or now_ms, None
        return frames.gap(epoch.text(since), epoch.text(now_ms), SLOW)
