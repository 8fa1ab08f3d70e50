"""A batch that cannot be written whole: the messages that make it fail are found by bisecting, and rejected."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable

from ingestion.consume.batch import Batch, Reject
from ingestion.decode.encoding import Encoding
from ingestion.store.database import BatchRefusedError, DatabaseAwayError, TooSlowError
from ingestion.store.quota import Quota
from ingestion.store.tables import Written

Write = Callable[[Batch], Awaitable[Written]]
PATIENCE = 3  # how often one message may take too long
_LAST_WORD = "this message makes the write fail, and cannot be kept"


async def write_bisecting(
    encoding: Encoding, quota: Quota, write: Write, batch: Batch, receipts: list[tuple[str, int, int]]
) -> Written:
    """Writes as many of a batch's messages as possible. A message that is not even kept as a reject gets no receipt.

    Raises DatabaseAwayError when none of several messages can be written and none is known to be at fault: then the
    cause is not the messages.
    """
    written, refused = await _bisected(encoding, write, batch)
    if len(refused) == len(batch.deliveries) > 1 and not any(error.of_data for _, error in refused):
        raise DatabaseAwayError(f"nothing can be written: {refused[0][1]}")
    for one, error in refused:
        written += await _reject(quota, write, one, str(error), receipts)
    return written


class Parts:
    """A batch that is written whole; after a write that took too long, in halves, down to single messages.

    A single message that takes too long is tried again after the others, and rejected after PATIENCE times if the table
    can be written in between. Otherwise, and for a single row, the database counts as away. Parts that the server
    cancels are halved too, but never rejected.
    """

    def __init__(self, encoding: Encoding, quota: Quota, batch: Batch) -> None:
        self._encoding = encoding
        self._quota = quota
        self._receipts = batch.receipts
        self._left = deque([batch])
        self._slow: Counter[Batch] = Counter()
        self.written = Written(0, 0, 0)

    async def write(self, write: Write) -> None:
        """Writes the rest. Raises DatabaseAwayError, BatchRefusedError."""
        while self._left:
            part = self._left[0]
            if self._slow[part]:
                await self._answered(part, write)
            try:
                if self._slow[part] < PATIENCE or part.points == 1:
                    self.written += await write(part)
                else:
                    self.written += await _reject(self._quota, write, part, "it takes too long", self._receipts)
            except TooSlowError as error:
                self._split(part, is_slow=not error.cancelled)
                raise
            self._left.popleft()

    async def _answered(self, part: Batch, write: Write) -> None:
        try:
            await write(Batch())
        except DatabaseAwayError:
            self._slow[part] = 0
            raise

    def _split(self, part: Batch, *, is_slow: bool) -> None:
        self._left.popleft()
        if (middle := len(part.deliveries) // 2) > 0:
            halves = (slice(middle, None), slice(None, middle))
            self._left.extendleft(self._encoding.again(part, half) for half in halves)
        else:
            self._slow[part] += is_slow
            self._left.append(part)


async def _bisected(
    encoding: Encoding, write: Write, batch: Batch
) -> tuple[Written, list[tuple[Batch, BatchRefusedError]]]:
    """Writes what can be written; yields what cannot, one batch per message, with the reason."""
    try:
        return await write(batch), []
    except BatchRefusedError as error:
        if len(batch.deliveries) == 1:
            return Written(0, 0, 0), [(batch, error)]
    middle = len(batch.deliveries) // 2
    first, refused_first = await _bisected(encoding, write, encoding.again(batch, slice(None, middle)))
    second, refused_second = await _bisected(encoding, write, encoding.again(batch, slice(middle, None)))
    return first + second, refused_first + refused_second


async def _reject(quota: Quota, write: Write, one: Batch, reason: str, receipts: list[tuple[str, int, int]]) -> Written:
    """Keeps a message as a reject; what is not kept even as one gets none of the `receipts`."""
    [delivery] = one.deliveries
    publisher = one.receipts[0][0] if one.receipts else None
    said = f"writing it fails: {reason}"
    reject = Reject(delivery.topic, delivery.payload, said, arrived=delivery.arrived, publisher=publisher)
    admitted = quota.admitted([reject])
    if not admitted:
        _withhold(receipts, one)
        return Written(0, 0, 0)
    try:
        return await write(Batch(rejects=admitted))
    except BatchRefusedError:
        pass
    except BaseException:  # it will be tried again
        quota.returned(admitted)
        raise
    _withhold(receipts, one)
    try:
        return await write(Batch(rejects=[Reject("", b"", _LAST_WORD)]))
    except BatchRefusedError as error:
        raise DatabaseAwayError(f"rejects cannot be stored: {error}") from None


def _withhold(receipts: list[tuple[str, int, int]], one: Batch) -> None:
    receipts[:] = [numbers for numbers in receipts if numbers not in one.receipts]
