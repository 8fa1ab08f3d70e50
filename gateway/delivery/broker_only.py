"""Batches that only the broker has, neither our memory nor our disk. Pure."""

from gateway.delivery.batch import Batch
from nexus.contract.ranges import Ranges


class BrokerOnly:
    """Batches in flight are requeued if they are not acknowledged; for the others, a receipt may still come."""

    def __init__(self) -> None:
        self._in_flight: dict[int, bool] = {}  # by number; true if evicted from memory before its receipt
        self._acknowledged = Ranges()

    @property
    def lowest(self) -> int | None:
        """The lowest number that may come back."""
        return min(self._in_flight, default=None)

    def sent(self, batch: Batch) -> None:
        """The batch is in flight, and neither memory nor disk has it."""
        self._in_flight[batch.first] = False

    def evicted(self, batch: Batch, floor: int) -> None:
        """Memory has no room to keep the batch until its receipt. Below `floor` everything has arrived."""
        self._acknowledged.forget(floor)
        if batch.in_flight:
            self._in_flight[batch.first] = True
        else:
            self._acknowledged.add(batch.first, batch.last)

    def acknowledged(self, batch: Batch) -> bool:
        """The batch is acknowledged; tells whether it still waits for a receipt."""
        if self._in_flight.pop(batch.first, False):
            self._acknowledged.add(batch.first, batch.last)
        return self._acknowledged.holds(batch.first, batch.last)  # it may have been sent twice

    def returned(self, batch: Batch) -> None:
        """The batch is in memory or on disk again, or done with."""
        self._in_flight.pop(batch.first, None)

    def lost(self, first: int, last: int) -> int:
        """How many readings of these numbers, whose receipts stay away, nobody has."""
        return sum(end - start + 1 for start, end in self._acknowledged.within(first, last))
