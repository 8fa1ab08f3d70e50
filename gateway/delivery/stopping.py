"""What a gateway that stops still waits for, while it is connected to the broker."""

import asyncio

from gateway.delivery.outbox import Outbox


async def sent_from_memory(outbox: Outbox) -> None:
    """Waits until the broker has what the disk refuses."""
    while outbox.numbers.start and outbox.failing is not None and outbox.unstored:
        await outbox.changed(0.1)


async def receipts(outbox: Outbox, seconds: float) -> None:
    """Waits until what was sent lately is in the database; at most `seconds`."""
    if not (outbox.waits_for_receipts and outbox.offered):
        return
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    sent = outbox.numbers.recent(clock())
    while sent and not outbox.numbers.is_committed(*sent) and clock() < until:
        await outbox.changed(until - clock())
