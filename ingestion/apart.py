"""A batch that cannot be written whole: what makes it fail is found by halving, and set aside; the rest is stored."""

from collections.abc import Awaitable, Callable, Sequence

from ingestion.batch import Batch, Delivery, Reject
from ingestion.database import BatchRefused, DatabaseAway
from ingestion.encoding import Encoding
from ingestion.quota import Quota
from ingestion.rows import Window
from ingestion.tables import Written

Write = Callable[[Batch], Awaitable[Written]]
_LAST_WORD = "this message makes writing fail, and cannot be kept"


async def write_apart(encoding: Encoding, quota: Quota, write: Write, batch: Batch) -> Written:
    """Writes what can be written of a batch's messages.

    Raises DatabaseAway when none of several can, and none is known to be at fault itself: then it is not the messages'.
    """
    window = batch.window or Window.at(0, 0)
    written, refused = await _halved(encoding, write, batch.deliveries, window)
    if len(refused) == len(batch.deliveries) > 1 and not any(error.of_data for _, error in refused):
        raise DatabaseAway(f"nothing can be written: {refused[0][1]}")
    for delivery, error in refused:
        written += await _set_aside(quota, write, delivery, str(error), window.now)
    return written


async def _halved(
    encoding: Encoding, write: Write, deliveries: Sequence[Delivery], window: Window
) -> tuple[Written, list[tuple[Delivery, BatchRefused]]]:
    """Writes what can be, and gives what cannot, with the reason."""
    batch = Batch(deliveries=list(deliveries), window=window)
    for topic, payload, _ in deliveries:
        encoding.add(batch, topic, payload, window)
    try:
        return await write(batch), []
    except BatchRefused as error:
        if len(deliveries) == 1:
            return Written(0, 0, 0), [(deliveries[0], error)]
    middle = len(deliveries) // 2
    first, refused_first = await _halved(encoding, write, deliveries[:middle], window)
    second, refused_second = await _halved(encoding, write, deliveries[middle:], window)
    return first + second, refused_first + refused_second


async def _set_aside(quota: Quota, write: Write, delivery: Delivery, reason: str, arrived: int) -> Written:
    reject = Reject(delivery.topic, delivery.payload, f"writing it fails: {reason}", arrived=arrived)
    try:
        return await write(Batch(rejects=quota.admitted([reject])))
    except BatchRefused:
        pass
    try:
        return await write(Batch(rejects=[Reject("", b"", _LAST_WORD)]))
    except BatchRefused as error:
        raise DatabaseAway(f"rejects cannot be stored: {error}") from None
