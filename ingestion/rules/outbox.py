"""What rules say, until it has arrived: sent in order, and again where no receipt comes. Pure; `now` in seconds.

It is bounded by the worker, which takes no more inputs while it is `full`; the broker then keeps them.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

from ingestion.rules.store import Row

MOST = 100_000
MOST_BYTES = 64_000_000  # of payloads
AGAIN_SECONDS = 15.0  # without a receipt; twice as long each time that none has come at all …
LONGEST_SECONDS = 600.0  # … up to this: a broker keeps every copy for an ingester that is away


class Outbox:
    """Messages by their numbers, as the database has them. `awaits_receipts` may change at any time.

    `bytes` are those of all payloads. `offered` is whether receipts were ever offered. `alarms` are their last messages
    by topic, likewise.
    """

    def __init__(self, rows: Sequence[Row], last: int, alarms: Mapping[str, bytes] | None = None) -> None:
        self.awaits_receipts = True
        self.offered = False
        self.alarms = dict(alarms or {})
        self._last = last
        self.bytes = 0  # of payloads
        self._rows: dict[int, Row] = {}
        self._due: deque[int] = deque()
        self._sent: OrderedDict[int, float] = OrderedDict()  # when, the oldest first
        self._pause = AGAIN_SECONDS
        self._is_heard = True  # a receipt came since something was sent again
        self._is_alone = False  # ingesters have withdrawn their offers of receipts: the broker keeps what was sent
        self._newest: dict[str, int] = {}  # of what is retained, by topic
        self._done: list[int] = []
        self.add(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def full(self) -> bool:
        return len(self._rows) >= MOST or self.bytes >= MOST_BYTES

    @property
    def has_done(self) -> bool:
        """Whether the database may forget something."""
        return bool(self._done)

    def add(self, rows: Iterable[Row], alarms: Mapping[str, bytes | None] | None = None) -> None:
        """Takes what is in the database now; of `alarms`, None is one that is no more."""
        for name, payload in (alarms or {}).items():
            if payload is None:
                self.alarms.pop(name, None)
            else:
                self.alarms[name] = payload
        for row in rows:
            self._rows[row.number] = row
            self.bytes += len(row.payload)
            self._due.append(row.number)
            self._last = max(self._last, row.number)
            if row.retain:
                self._newest[row.topic] = row.number

    def has(self, topic: str) -> bool:
        """Whether what is to be retained on this topic is still on its way."""
        return self._newest.get(topic) in self._rows

    def reconnected(self) -> None:
        """What is not confirmed has to be sent again."""
        self._due = deque(self._rows)
        self._sent.clear()
        self._is_alone = False

    def offers(self, *, some: bool, now: float) -> None:
        """Whether an ingester offers receipts now. One that comes back first gets what the broker kept for it."""
        if some and self._is_alone:
            self._sent = OrderedDict.fromkeys(self._sent, now)
            self._pause, self._is_heard = AGAIN_SECONDS, True
        self._is_alone = not some

    def next(self, now: float) -> tuple[Row, bool] | None:
        """What to send now, and whether it is retained: what was said before the newest message of a topic is not."""
        self._look_back(now)
        while self._due:
            if (row := self._rows.get(number := self._due.popleft())) is not None:
                self._sent[number] = now
                return row, row.retain and self._newest[row.topic] == number
        return None

    def _look_back(self, now: float) -> None:
        """What has had no receipt for too long is due again."""
        if self._is_alone or not self._sent or next(iter(self._sent.values())) > now - self._pause:
            return
        late = [number for number, at in self._sent.items() if at <= now - self._pause]
        for number in late:
            del self._sent[number]
        self._due.extend(late)
        self._pause = AGAIN_SECONDS if self._is_heard else min(2 * self._pause, LONGEST_SECONDS)
        self._is_heard = False

    def taken(self, number: int) -> None:
        """The broker has it."""
        if (row := self._rows.get(number)) is not None and not (self.awaits_receipts and row.payload):
            self._forget(number)

    def committed(self, ranges: Iterable[tuple[int, int]]) -> bool:
        """Ingestion has these; False, and nothing done, if they hold numbers that were never sent."""
        ranges = list(ranges)
        if any(last > self._last for _, last in ranges):
            return False
        self._pause, self._is_heard = AGAIN_SECONDS, True
        for first, last in ranges:
            span = range(first, last + 1)
            few = span if len(span) < len(self._rows) else [number for number in self._rows if number in span]
            for number in few:
                if number in self._rows:
                    self._forget(number)
        return True

    def take_done(self) -> list[int]:
        """What the database may forget."""
        done, self._done = self._done, []
        return done

    def _forget(self, number: int) -> None:
        self.bytes -= len(self._rows.pop(number).payload)
        self._sent.pop(number, None)
        self._done.append(number)
