"""What is not known to have arrived: in memory until the disk has it, on disk until it has.

Without receipts a scan has arrived when the broker acknowledges it, and only what the broker does not take comes here.
With receipts it has arrived when it is in the database, and all that is read comes here before it leaves.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Literal

from gateway import metrics
from gateway.delivery.entry import Entry, holes
from gateway.delivery.ledger import Ledger
from gateway.delivery.message import Outlet, Record, Scan
from gateway.delivery.spool import Spool, SpoolError
from gateway.delivery.spool_gauges import Gauges
from gateway.delivery.waiting import Waiting
from nexus.contract.ranges import Ranges
from nexus.contract.reading import Reading
from nexus.process import log

SCANS_AT_ONCE = 2000  # in one transaction
_NO_OUTLET = Outlet("", "device", {})
Wanted = Literal["auto", "always", "never"]


PATIENCE_SECONDS = 30.0  # after an outage of the broker, for its subscribers to come back too


class Backlog:
    """Scans on their way to the disk, and the book of all that is under way; at most `limit` readings wait in memory.

    When that is full, because the disk takes nothing, the oldest go, and are counted. Times are the event loop's.
    `receipts` are waited for always, never, or (auto) from the first time on that somebody offers them. While the spool
    cannot be opened nothing has a number, and the broker's word has to do.
    """

    def __init__(self, spool: Spool, limit: int, receipts: Wanted, *, shown: bool = True) -> None:
        self.spool = spool
        self._wanted = receipts
        self._receipts = receipts == "always"
        self._scans = Waiting(limit)
        self._start = self._next = 0  # the first number that is ours, and the next one; none before the spool is open
        self._ledger = Ledger(0)
        self._finished = Ranges()  # numbers that the disk need not keep
        self._flushing = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self._log = log.get("spool")
        self._refusing = False
        self.wake = asyncio.Event()  # there is something for the disk
        self.opened = asyncio.Event()
        self.tried = asyncio.Event()  # to open it, whatever came of it
        self.news = asyncio.Event()  # something is stored, or has arrived
        self.offered = False  # whether ingesters say that they send receipts
        self._was_connected = False
        self._patience_until = float("-inf")
        self.silent_since: float | None = None  # the broker has acknowledged nothing for too long
        self.failing: str | None = None  # why the disk takes nothing
        self.rate = 0.0  # readings a second that leave the disk
        self.gauges = Gauges(spool) if shown else None
        if shown:
            metrics.spool_waiting.set_function(lambda: self.waiting)

    def connected(self) -> None:
        """There is a connection. After an outage those who listen may still be on their way back, as we were."""
        if self._was_connected:
            self._patience_until = self._clock() + PATIENCE_SECONDS
        self._was_connected = True

    @property
    def keeps_unheard(self) -> bool:
        """Whether what the broker had nobody to give to is kept, and sent again."""
        return self._wanted != "never" or self._clock() < self._patience_until

    async def open(self) -> None:
        """Opens the spool, and goes on where the process before ended. Raises SpoolError."""
        await self.spool.open()
        if (owner := self.spool.owner) is None or self.opened.is_set():
            return
        contents = self.spool.contents
        self._start = self._next = owner.next
        self._ledger = Ledger(contents.first if contents.messages else owner.next)
        self._receipts = self._receipts or (self._wanted == "auto" and owner.offered)
        self.opened.set()
        self._scans.number(self._number)
        self.show()

    @property
    def name(self) -> str | None:
        """The publisher's name; None until the spool is open."""
        return self.spool.owner.id if self.opened.is_set() and self.spool.owner else None

    @property
    def publisher(self) -> str | None:
        """Under which name our messages are numbered; None without receipts."""
        return self.name if self._receipts else None

    @property
    def stored(self) -> int:
        """Messages on disk."""
        return self.spool.contents.messages

    @property
    def waiting(self) -> int:
        """Readings in memory."""
        return self._scans.readings

    def offer(self, offered: bool) -> None:
        """Ingesters say that they send receipts, or do no more. Who has heard it once goes on waiting for them."""
        self.offered = offered
        if offered and self._wanted == "auto":
            self._receipts = True
            self.wake.set()
        self.news.set()

    def scan(self, outlet: Outlet, readings: list[Reading]) -> Scan:
        """What a device said, with its numbers; with receipts, on its way to the disk."""
        return self._new(Scan(outlet, readings, 0, len(readings)))

    def record(self, record: Record) -> Scan:
        """A message that is no reading; like a scan of one reading."""
        return self._new(Scan(_NO_OUTLET, [], 0, 1, record))

    def _new(self, scan: Scan) -> Scan:
        if self._start:
            self._number(scan)
            if self._receipts:
                self._store(scan)
        return scan

    def _number(self, scan: Scan) -> None:
        scan.number(self._next)
        self._next += scan.count

    def set_on(self, clock: int) -> None:
        """Goes on with the numbers from the wall clock on, so that one who runs on a copy of the spool meets none."""
        if 0 < self._next < clock:
            self._ledger.gone(self._next, clock - 1)
            self._next = clock

    def ahead(self, clock: int) -> float:
        """By how many seconds the numbers, which follow the wall clock, are ahead of it: it was set back."""
        saw = self.spool.owner.saw if self.spool.owner else 0
        return max(0, self._next - clock, saw - clock) / 1e6

    def leaves(self, scan: Scan) -> None:
        """The scan is about to be sent."""
        if scan.first:
            self._ledger.sent(scan.first, scan.last, self._clock())

    def stays(self, scan: Scan) -> None:
        """The scan was not sent, or not so that it is known to have arrived."""
        if scan.first:
            self._ledger.unsent(scan.first, scan.last)
        if not scan.kept:
            self._store(scan)

    def keeps(self, scan: Scan) -> None:
        """The scan is under way, and the disk is to have it should nothing come of that."""
        if not scan.kept and self._scans.has_room(scan):
            self._store(scan)

    def acknowledged(self, scan: Scan) -> None:
        """The broker has the scan; with receipts, the disk keeps it until there is one."""
        if not scan.first:
            return
        if not scan.kept:
            self._ledger.gone(scan.first, scan.last)
        elif not self._receipts:
            self._finished.add(*self._ledger.gone(scan.first, scan.last))

    def committed(self, first: int, last: int) -> None:
        """A receipt: the database has these numbers. Only those count that were sent."""
        if not 1 <= first <= last < self._next:
            return self._refuse(first, last)
        parts = self._ledger.have_left(first, last)
        for part in parts:
            self._finished.add(*self._ledger.committed(*part, self._clock()))
        if parts:
            metrics.receipts.inc()
            self.wake.set()
            self.news.set()
        elif first >= self._start and not self._ledger.is_committed(first, last):
            self._refuse(first, last)
        return None

    def _refuse(self, first: int, last: int) -> None:
        metrics.receipts_refused.inc()
        if not self._refusing:
            self._refusing = True
            self._log.error("a receipt for numbers that were never sent is refused", first=first, last=last)

    def heard_within(self, seconds: float) -> bool:
        """Whether a receipt has come lately."""
        return self._clock() - self._ledger.heard < seconds

    async def receipts(self, seconds: float) -> None:
        """Waits until what was sent lately is in the database; at most so long."""
        if not (self._receipts and self.offered):
            return
        sent = self._ledger.recent(self._clock())
        until = self._clock() + seconds
        while sent and not self._ledger.is_committed(*sent) and self._clock() < until:
            await self.changed(until - self._clock())

    @property
    def unsettled(self) -> int:
        """Readings that are not known to have arrived."""
        unnumbered = 0 if self._start else self.waiting
        return self._ledger.missing(self._next) + unnumbered

    async def changed(self, seconds: float) -> None:
        """Waits until something is stored, or has a receipt; at most so long."""
        self.news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()

    def _store(self, scan: Scan) -> None:
        scan.kept = True
        if self._start and not scan.first:  # it left before the spool was open
            self._number(scan)
        for oldest in self._scans.add(scan):
            if self._is_due(oldest):
                metrics.dropped.labels("memory").inc(oldest.count)
            if oldest.first:
                self._ledger.gone(oldest.first, oldest.last)
        self.wake.set()

    def _is_due(self, scan: Scan) -> bool:
        """Whether it is not with the broker, as far as we know."""
        return not scan.first or self._ledger.due(scan.first, scan.last) is not None

    def _is_settled(self, scan: Scan) -> bool:
        return scan.first > 0 and self._ledger.is_committed(scan.first, scan.last)

    @property
    def unstored(self) -> int:
        """Readings that are in memory alone: not on disk, and not with the broker."""
        return sum(scan.count for scan in self._scans if self._is_due(scan))

    async def sent_from_memory(self) -> None:
        """Waits until the broker has what the disk refuses."""
        while self._start and self.failing is not None and self.unstored:
            await self.changed(0.1)

    def lose(self) -> int:
        """What is in memory alone is lost with it, at the end; gives how many readings."""
        if lost := self.unstored:
            metrics.dropped.labels("memory").inc(lost)
        return lost

    async def flush(self) -> None:
        """Brings the disk up to date. Raises SpoolError."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        await self.open()
        self.wake.clear()
        if self._receipts and self.spool.owner and not self.spool.owner.offered and self.offered:
            await self.spool.remember_offer()
        if self.failing is not None:
            self._scans.drop(self._is_settled)
        while self._scans or self._finished:
            scans = self._scans.take(SCANS_AT_ONCE)
            finished, self._finished = self._finished, Ranges()
            wanted = [scan for scan in scans if not self._ledger.is_committed(scan.first, scan.last)]
            try:
                await self.spool.write([entry for scan in wanted for entry in scan.entries], finished)
            except BaseException:
                self._scans.put_back()
                for first, last in finished:
                    self._finished.add(first, last)
                self.wake.set()
                raise
            self._scans.done()
            self.news.set()
            self.show()

    # For the drain.

    async def due(
        self, limit: int, after: int = 0, aside: Collection[str] = (), largest: int | None = None
    ) -> list[Entry]:
        """The first entries on disk, from number `after` on, that should be sent; none of the topics `aside`, and no
        single reading of more than `largest` bytes.

        Raises SpoolError.
        """
        if self.offered:
            self._ledger.listen(self._clock())
        upto = self.spool.contents.last
        if (waiting := self._scans.first) is not None:  # from here on: not on disk yet, and not gone either
            upto = min(upto, waiting - 1)
        due: list[Entry] = []
        number = after
        while len(due) < limit and (first := self._ledger.due(number, upto)) is not None:
            entries = await self.spool.between(first, upto, limit, aside, largest)
            number = entries[-1].last + 1 if len(entries) == limit else upto + 1
            for hole in [] if aside or largest is not None else holes(first, number - 1, entries):
                self._ledger.nowhere(*hole)
            due += [entry for entry in entries if self._ledger.due(entry.id, entry.last) is not None]
        return due[:limit]

    def due_in_memory(self, limit: int, aside: Collection[str], largest: int) -> list[Entry]:
        """While the disk refuses: the first entries of at most `largest` bytes that wait for it and should be sent."""
        if self.failing is None or (waiting := self._scans.first) is None:
            return []
        first, due = self._ledger.due(max(1, waiting), self._next - 1), list[Entry]()
        for scan in self._scans if first is not None else ():
            if first is None or not first <= scan.last or scan.topic in aside or not self._is_due(scan):
                continue
            parts = (one for one in scan.entries if one.length <= largest)
            due += [one for one in parts if self._ledger.due(one.id, one.last) is not None]
            if len(due) >= limit:
                break
        return due[:limit]

    def sent(self, entries: list[Entry]) -> None:
        """These leave now."""
        now = self._clock()
        for entry in entries:
            if self._ledger.sent(entry.id, entry.last, now):
                metrics.sent_again.inc(entry.readings)

    def unsent(self, entries: list[Entry]) -> None:
        """Nobody got these."""
        for entry in entries:
            self._ledger.unsent(entry.id, entry.last)

    async def done(self, entries: list[Entry]) -> None:
        """These need not be kept."""
        for entry in entries:
            self._finished.add(*self._ledger.gone(entry.id, entry.last))
        try:
            await self.flush()
        except SpoolError:  # a full disk may not even take deletions: they are sent again after a restart
            metrics.spool_failures.inc()

    def is_done(self, entry: Entry) -> bool:
        """Whether it is known to have arrived."""
        return self._ledger.is_committed(entry.id, entry.last)

    def show(self) -> None:
        """Brings the metrics up to date."""
        if self.gauges is not None and self.opened.is_set():
            self.gauges.show(self.rate)
