"""A batch that cannot be written whole: what makes it fail is found by halving, and set aside; the rest is stored."""

from collections.abc import Awaitable, Callable

from ingestion.batch import Batch, Reject
from ingestion.database import BatchRefused, DatabaseAway
from ingestion.encoding import Encoding
from ingestion.quota import Quota
from ingestion.tables import Written

Write = Callable[[Batch], Awaitable[Written]]
_LAST_WORD = "this message makes writing fail, and cannot be kept"


async def write_apart(encoding: Encoding, quota: Quota, write: Write, batch: Batch) -> Written:
    """Writes what can be written of a batch's messages.

    Raises DatabaseAway when none of several can, and none is known to be at fault itself: then it is not the messages'.
    """
    written, refused = await _halved(encoding, write, batch)
    if len(refused) == len(batch.deliveries) > 1 and not any(error.of_data for _, error in refused):
        raise DatabaseAway(f"nothing can be written: {refused[0][1]}")
    for one, error in refused:
        written += await _set_aside(quota, write, one, str(error))
    return written


async def _halved(encoding: Encoding, write: Write, batch: Batch) -> tuple[Written, list[tuple[Batch, BatchRefused]]]:
    """Writes what can be, and gives what cannot, a batch a message, with the reason."""
    try:
        return await write(batch), []
    except BatchRefused as error:
        if len(batch.deliveries) == 1:
            return Written(0, 0, 0), [(batch, error)]
    middle = len(batch.deliveries) // 2
    first, refused_first = await _halved(encoding, write, encoding.again(batch, slice(None, middle)))
    second, refused_second = await _halved(encoding, write, encoding.again(batch, slice(middle, None)))
    return first + second, refused_first + refused_second


async def _set_aside(quota: Quota, write: Write, one: Batch, reason: str) -> Written:
    [delivery], [window] = one.deliveries, one.windows
    reject = Reject(delivery.topic, delivery.payload, f"writing it fails: {reason}", arrived=window.now)
    admitted = quota.admitted([reject])
    try:
        return await write(Batch(rejects=admitted))
    except BatchRefused:
        pass
    except BaseException:  # it will be tried again
        quota.returned(admitted)
        raise
    try:
        return await write(Batch(rejects=[Reject("", b"", _LAST_WORD)]))
    except BatchRefused as error:
        raise DatabaseAway(f"rejects cannot be stored: {error}") from None
