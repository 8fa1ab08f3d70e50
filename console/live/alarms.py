"""The last message of each alarm, as the broker has them, in bounded memory. Pure: `now` is an argument."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import takewhile

import msgspec

from console.live import alarm_item
from nexus.contract import alarm
from nexus.contract.alarm import AlarmMessage

MOST = 20_000  # that are not normal, and likewise of the normal ones that changed last
_AHEAD_MS = 3_600_000  # a message further ahead of our clock came from a clock that was wrong

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True, eq=False)
class Known:
    """An alarm's last message, its JSON, and the number of the change that brought it."""

    message: AlarmMessage
    row: bytes
    number: int


class Alarms:
    """What stands, in the order of its last change; `last_change` numbers them."""

    def __init__(self) -> None:
        self.last_change = 0
        self.is_full = False  # there are more than we keep
        self._standing: dict[str, Known] = {}
        self._normal: OrderedDict[str, Known] = OrderedDict()
        self._unseen: set[str] | None = None  # since the connection began, until all have come
        self._sorted: tuple[int, list[AlarmMessage]] = (0, [])

    def begin(self) -> None:
        """A new connection: the broker now says all that it retains."""
        self._unseen = set(self._standing)
        self.is_full = False

    def sweep(self) -> None:
        """It has said all: what was not among it is gone."""
        for topic in self._unseen or ():
            self._remove(topic)
        self._unseen = None

    def take(self, topic: str, payload: bytes, now: int, *, is_retained: bool) -> None:
        """Takes a message on `alarm/#` at `now`, in epoch ms; one that is retained is the present message, whatever any
        clock said. Raises DecodeError."""
        if self._unseen is not None:
            self._unseen.discard(topic)
        if not payload:
            self._remove(topic)
            return
        message = alarm.decode(topic, payload)
        known = self._standing.get(topic) or self._normal.get(topic)
        if not is_retained and known is not None and message.record.ts < known.message.record.ts <= now + _AHEAD_MS:
            return
        row = _encode(alarm_item.item(message, suppressed=message.record.suppressed))
        if known is None or known.row != row:
            self._keep(topic, message, row)

    def in_order(self) -> list[AlarmMessage]:
        """Those that are not normal, the most urgent first."""
        if self._sorted[0] != self.last_change:
            messages = sorted((known.message for known in self._standing.values()), key=alarm_item.urgency)
            self._sorted = (self.last_change, messages)
        return self._sorted[1]

    def changed(self, seen: int, normal_since: int) -> Iterator[Known]:
        """Those that have changed since `seen`, the last first; normal ones only if that was after `normal_since`."""
        standing = _newest(self._standing, seen)
        return merge(standing, _newest(self._normal, max(seen, normal_since)), key=lambda known: -known.number)

    def _keep(self, topic: str, message: AlarmMessage, row: bytes) -> None:
        self._standing.pop(topic, None)
        self._normal.pop(topic, None)
        self.last_change += 1
        known = Known(message, row, self.last_change)
        if message.record.state == "normal":
            self._normal[topic] = known
            if len(self._normal) > MOST:
                self._normal.popitem(last=False)
        elif len(self._standing) < MOST:
            self._standing[topic] = known
        else:
            self.is_full = True

    def _remove(self, topic: str) -> None:
        """It has left the device files: whoever watches is told that it is normal."""
        if (known := self._standing.get(topic)) is None:
            return
        record = msgspec.structs.replace(known.message.record, state="normal", active=False, acknowledged=True)
        message = msgspec.structs.replace(known.message, record=record, event="removed")
        self._keep(topic, message, _encode(alarm_item.item(message, suppressed=message.record.suppressed)))


def _newest(kept: dict[str, Known], seen: int) -> Iterator[Known]:
    return takewhile(lambda known: known.number > seen, reversed(kept.values()))
