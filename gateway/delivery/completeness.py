"""Publishes the devices' tallies, like readings: periodically, and when a device or the gateway stops."""

import asyncio
import secrets
from collections.abc import Callable

from gateway import metrics
from gateway.delivery.outbox import Outbox
from gateway.delivery.renewal import Renewal
from gateway.polling.tally import Hour, Tally
from nexus.contract import completeness as contract
from nexus.contract import topic
from nexus.contract.completeness import HOUR_MS, Counts
from nexus.process.clock import now_ms

LOOK_SECONDS = 1.0
_DAY_HOURS = 24

Record = Callable[[str, bytes], object]
Sent = list[tuple[Tally, int, Hour, int]]


class Completeness:
    """The tallies by device path, each with a name of its own. Every one is published within `every` seconds.

    A count that is lost with a killed process is at most that old.
    """

    def __init__(self, gateway: str, every: float, outbox: Outbox, record: Record) -> None:
        self._gateway, self._every, self._outbox, self._record = gateway, every, outbox, record
        self._tallies: dict[str, tuple[str, Tally]] = {}
        self._earlier: dict[str, tuple[str, Tally]] = {}  # dropped readings that these tallies did not count
        self._clock = asyncio.get_running_loop().time
        self._renewal = Renewal(every, self._clock())
        self._earlier_at = self._clock()
        self._pending: tuple[int, Sent] | None = None  # what had been sent before a given number
        metrics.missing.set_function(lambda: self.missing(now_ms()))

    def of(self, path: str) -> Tally:
        """The tally of a device that is polled here."""
        return self._tallies.setdefault(path, (secrets.token_hex(8), Tally()))[1]

    def end(self, path: str, *, ended: bool) -> None:
        """A device is not polled here any more; `ended` if nothing is due of it from now on."""
        if path in self._tallies:
            self._publish(path, now_ms(), ended=ended)
            del self._tallies[path]

    def flush(self) -> None:
        """Publishes all counts: the gateway stops."""
        for path in list(self._tallies):
            self._publish(path, now_ms())
        self._publish_earlier(now_ms())

    async def run(self) -> None:
        """Publishes for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            settled = self._outbox.numbers.floor
            self._count_dropped(now_ms())  # before it is settled, of what is settled
            self._settle(settled)
            for path in self._renewal.due(self._tallies, self._clock()):
                self._publish(path, now_ms())
            if self._clock() >= self._earlier_at + self._every:
                self._publish_earlier(now_ms())

    def missing(self, now: int) -> int:
        """Readings of today (in UTC) that were due and will not come, as far as this process knows."""
        first = now // HOUR_MS // _DAY_HOURS * _DAY_HOURS
        counted = [*self._tallies.values(), *self._earlier.values()]  # called in another thread than counts
        return sum(tally.missing(first) for _, tally in counted)

    def _publish(self, path: str, now: int, *, ended: bool = False) -> None:
        run, tally = self._tallies[path]
        tally.watched(now)
        self._say(path, tally.rows(run, now), ended=ended)

    def _publish_earlier(self, now: int) -> None:
        """Publishes drops of earlier runs, as rows that count nothing else."""
        self._earlier_at = self._clock()
        for path, (run, tally) in self._earlier.items():
            while rows := tally.rows(run, now):
                self._say(path, rows, ended=False)

    def _say(self, path: str, rows: list[Counts], *, ended: bool) -> None:
        self._record(contract.topic(path), contract.encode_completeness(self._gateway, rows, ended=ended))

    def _count_dropped(self, now: int) -> None:
        for drop in self._outbox.spool.drops.take():
            path = drop.topic.removeprefix(topic.ROOT)
            is_own = (not drop.first or drop.first >= self._outbox.numbers.start) and path in self._tallies
            tallies = self._tallies if is_own else self._earlier
            tallies.setdefault(path, (secrets.token_hex(8), Tally()))[1].dropped(drop.hours, now)

    def _settle(self, below: int) -> None:
        """What had been sent before number `below` has arrived, or is dropped."""
        if self._pending is not None and below >= self._pending[0]:
            for tally, number, hour, sent in self._pending[1]:
                tally.settled(number, hour, sent)
            self._pending = None
        if self._pending is None and self._outbox.numbers.following:
            tallies = [tally for _, tally in self._tallies.values()]
            every = [(tally, number, hour, hour.sent) for tally in tallies for number, hour in tally.hours.items()]
            self._pending = self._outbox.numbers.following, [one for one in every if not one[2].is_settled]
