"""Readings not known to have arrived: in memory until the disk has them, on disk until they have arrived.

Without receipts, a batch has arrived when the broker acknowledges it, and only unacknowledged batches come here. With
receipts, it has arrived when it is in the database, and every reading comes here before it is sent.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from typing import Literal

from gateway import metrics
from gateway.delivery.batch import Batch, holes
from gateway.delivery.broker_only import BrokerOnly
from gateway.delivery.memory_queue import MemoryQueue
from gateway.delivery.retransmit_queue import RetransmitQueue
from gateway.delivery.spool import Spool
from nexus.contract.ranges import Ranges
from nexus.process.errors import InvariantError

BATCHES_AT_ONCE = 2000  # in one transaction
Wanted = Literal["auto", "always", "never"]


class Outbox:
    """Batches on their way to the disk, and the state of every number; at most `limit` readings wait in memory.

    When memory is full, because the disk fails, the oldest are dropped and counted. Times are the event loop's.
    Receipts are waited for always, never, or (auto) from the first offer on. While the spool cannot be opened, readings
    have no numbers, and the broker's acknowledgement has to suffice.
    """

    def __init__(self, spool: Spool, limit: int, wanted: Wanted) -> None:
        self.spool = spool
        self.wanted = wanted
        self.waits_for_receipts = wanted == "always"
        self.publisher: str | None = None  # the name that our messages are numbered under; none without receipts
        self._batches = MemoryQueue(limit)
        self.numbers = RetransmitQueue(0, 0)  # none before the spool is open
        self._finished = Ranges()  # numbers that the disk need not keep
        self._broker_only = BrokerOnly()
        self._flushing = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self.wake = asyncio.Event()  # there is something for the disk
        self.opened = asyncio.Event()
        self.tried = asyncio.Event()  # an attempt to open the spool has ended, either way
        self.news = asyncio.Event()  # something was stored, or has arrived
        self.offered = False  # whether ingesters say that they send receipts
        self.failing: str | None = None  # why the disk cannot be written

    def fails(self, reason: str | None) -> bool:
        """Notes the result of a write; tells whether the disk began to fail, or works again."""
        is_new = (reason is None) != (self.failing is None)
        self.failing = reason
        self.tried.set()
        return is_new

    async def open(self) -> None:
        """Opens the spool, and continues where the last process ended. Raises SpoolError."""
        await self.spool.open()
        if (owner := self.spool.owner) is None or self.opened.is_set():
            return
        contents = self.spool.contents
        self.numbers = RetransmitQueue(contents.first if contents.messages else owner.next, owner.next)
        self.waits_for_receipts = self.waits_for_receipts or (self.wanted == "auto" and owner.offered)
        self.opened.set()
        self.publisher = owner.id if self.waits_for_receipts else None
        self._batches.number(self._number)

    @property
    def name(self) -> str | None:
        """The publisher's name; None until the spool is open."""
        return self.spool.owner.id if self.opened.is_set() and self.spool.owner else None

    @property
    def stored(self) -> int:
        """Messages on disk."""
        return self.spool.contents.messages

    @property
    def waiting(self) -> int:
        """Readings in memory."""
        return self._batches.readings

    def offer(self, offered: bool) -> None:
        """Ingesters offer receipts, or no longer do. Once offered, receipts are waited for from then on."""
        self.offered = offered
        if offered and self.wanted == "auto":
            self.waits_for_receipts, self.publisher = True, self.name
            self.wake.set()
        self.news.set()

    def put(self, batch: Batch) -> None:
        """Takes a new batch: gives it its numbers and, with receipts, queues it for the disk."""
        if self.numbers.start:
            self._number(batch)
            if self.waits_for_receipts:
                self._store(batch)

    def _number(self, batch: Batch) -> None:
        if batch.first:
            raise InvariantError("readings would be numbered a second time")
        batch.first = self.numbers.give(batch.count)

    def set_on(self, clock: int) -> None:
        """Moves the numbers on to the wall clock's, so that a gateway that runs on a copy of the spool uses others."""
        if self.numbers.start:
            self.numbers.skip_to(clock)

    def ahead(self, clock: int) -> float:
        """How many seconds the numbers, which follow the wall clock, are ahead of it, because it was set back."""
        saw = self.spool.owner.saw if self.spool.owner else 0
        return max(0, self.numbers.following - clock, saw - clock) / 1e6

    def mark_sent(self, batch: Batch) -> None:
        """The batch is about to be sent; the replay must leave it alone."""
        if not batch.first:
            return
        if self.numbers.mark_sent(batch.first, batch.last, self._clock()):
            metrics.sent_again.inc(batch.count)
        batch.in_flight = True
        if not batch.kept:
            self._broker_only.sent(batch)

    def requeue(self, batch: Batch) -> None:
        """The batch is unconfirmed: it is to be sent again."""
        batch.in_flight = batch.retain = False
        self._broker_only.returned(batch)
        if batch.first:
            self.numbers.requeue(batch.first, batch.last)
        if not batch.kept:
            self._store(batch)

    def keep(self, batch: Batch) -> None:
        """The batch is in flight; queues it for the disk in case it is not acknowledged."""
        if not batch.kept and self._batches.has_room(batch):
            self._store(batch)

    def confirm(self, batch: Batch) -> None:
        """The broker has acknowledged the batch; with receipts, the disk keeps it until its receipt."""
        batch.in_flight = False
        if not self._broker_only.acknowledged(batch) and not (batch.kept and self.waits_for_receipts):
            self.forget(batch)

    def forget(self, batch: Batch) -> None:
        """The batch is done with."""
        batch.in_flight = False
        self._broker_only.returned(batch)
        if batch.first:
            whole = self.numbers.forget(batch.first, batch.last)
            if batch.kept:
                self._finished.add(*whole)

    def is_safe(self, batch: Batch) -> bool:
        """Whether the batch would survive if the process were killed: it is on disk, or done with."""
        if not batch.kept:
            return batch.first > 0 and not batch.in_flight
        waiting = self._batches.first
        return batch.first > 0 and (waiting is None or batch.last < waiting)

    def committed(self, first: int, last: int) -> bool:
        """A receipt: the database has these numbers. Only numbers that were sent count; tells if it is plausible."""
        is_known = 1 <= first <= last < self.numbers.following
        parts = self.numbers.sent_within(first, last) if is_known else []
        for part in parts:
            self._finished.add(*self.numbers.confirm(*part, self._clock()))
        if parts:
            metrics.receipts.inc()
            self.wake.set()
            self.news.set()
            return True
        return is_known and (first < self.numbers.start or self.numbers.is_committed(first, last))

    def receipt_within(self, seconds: float) -> bool:
        """Whether a receipt has come in the last `seconds`."""
        return self._clock() - self.numbers.last_receipt < seconds

    @property
    def unsettled(self) -> int:
        """Readings that are not known to have arrived."""
        return self.numbers.missing if self.numbers.start else self.waiting

    async def changed(self, seconds: float) -> None:
        """Waits until something is stored, or has a receipt; at most `seconds`."""
        self.news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()

    def _store(self, batch: Batch) -> None:
        batch.kept = True
        self._broker_only.returned(batch)
        if self.numbers.start and not batch.first:  # it was sent before the spool was open
            self._number(batch)
        for oldest in self._batches.add(batch):
            self._evict(oldest)
        self.wake.set()

    def _evict(self, batch: Batch) -> None:
        """Memory is full: batches that the broker has are left to it, others are lost."""
        batch.kept = False
        if batch.in_flight or not self._is_due(batch):
            self._broker_only.evicted(batch, self.numbers.floor)
            return
        self.spool.drops.add("memory", batch)
        if batch.first:
            self.numbers.forget(batch.first, batch.last)

    def _is_due(self, batch: Batch) -> bool:
        """Whether the batch has to be sent: as far as we know, the broker does not have it."""
        return not batch.first or self.numbers.due(batch.first, batch.last) is not None

    @property
    def unstored(self) -> int:
        """Readings that are only in memory: neither on disk, nor with the broker."""
        return sum(batch.count for batch in self._batches if self._is_due(batch))

    def lose(self) -> int:
        """At the end: counts the readings that are only in memory, and are lost now; returns how many."""
        if lost := self.unstored:
            metrics.dropped.labels("memory").inc(lost)
        return lost

    async def flush(self) -> None:
        """Writes what is queued to disk. Raises SpoolError."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        await self.open()
        self.wake.clear()
        if self.waits_for_receipts and self.spool.owner and not self.spool.owner.offered and self.offered:
            await self.spool.remember_offer()
        if self.failing is not None:
            self._batches.drop(self.is_done)
        while self._batches or self._finished:
            batches = self._batches.take(BATCHES_AT_ONCE)
            finished, self._finished = self._finished, Ranges()
            wanted = [batch for batch in batches if not self.is_done(batch)]
            for batch in wanted:
                batch.encode()  # here, not in the spool's thread
            try:
                await self.spool.write(wanted, finished)
            except BaseException:
                self._batches.put_back()
                for first, last in finished:
                    self._finished.add(first, last)
                self.wake.set()
                raise
            self._batches.done()
            self.news.set()

    # For the replay.

    async def due(
        self, limit: int, after: int = 0, blocked: Collection[str] = (), largest: int | None = None
    ) -> list[Batch]:
        """The first due batches on disk, from number `after` on, without those of `blocked` topics and single readings
        of more than `largest` bytes. Raises SpoolError.
        """
        if self.offered:
            self.numbers.listen(self._clock())
        upto = self.spool.contents.last
        if (waiting := self._batches.first) is not None:  # from here on, not on disk yet, but not lost either
            upto = min(upto, waiting - 1)
        due: list[Batch] = []
        number = after
        while len(due) < limit and (first := self.numbers.due(number, upto)) is not None:
            batches = await self.spool.between(first, upto, limit, blocked, largest)
            number = batches[-1].last + 1 if len(batches) == limit else upto + 1
            if not blocked and largest is None:
                self._pass_over(holes(first, number - 1, batches))
            due += [batch for batch in batches if self.numbers.due(batch.first, batch.last) is not None]
        return due[:limit]

    def _pass_over(self, numbers: list[tuple[int, int]]) -> None:
        """The disk does not have these numbers: gives up those that cannot reach it any more."""
        following = self.numbers.following
        lowest = min(following, self._batches.first or following, self._broker_only.lowest or following)
        for first, last in numbers:
            for gone in self.numbers.give_up(first, min(last, lowest - 1)):
                metrics.dropped.labels("memory").inc(self._broker_only.lost(*gone))

    def due_in_memory(self, limit: int, blocked: Collection[str], largest: int) -> list[Batch]:
        """While the disk refuses: the first batches of at most `largest` bytes in memory that are due."""
        if self.failing is None or (waiting := self._batches.first) is None:
            return []
        if (first := self.numbers.due(max(1, waiting), self.numbers.following - 1)) is None:
            return []
        later = (batch for batch in self._batches if first <= batch.last and batch.topic not in blocked)
        return list(islice((batch for batch in later if self._is_due(batch) and batch.length <= largest), limit))

    def is_done(self, batch: Batch) -> bool:
        """Whether it is known to have arrived."""
        return batch.first > 0 and self.numbers.is_committed(batch.first, batch.last)
