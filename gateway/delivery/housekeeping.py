"""Stores an outbox on disk, again and again, whether the disk works or not."""

import asyncio
from time import monotonic

from gateway import metrics
from gateway.delivery.outbox import Outbox
from gateway.delivery.spool import SpoolError
from gateway.delivery.spool_file import wall_clock
from gateway.delivery.spool_gauges import SpoolGauges
from nexus.process import log

STORE_SECONDS = 0.25  # the most that a killed process loses, and how often the disk has to flush
RETRY_SECONDS = 2.0
EXPIRE_SECONDS = 10.0
SET_ON_SECONDS = 3600.0  # how often the numbers catch up with the wall clock; each time leaves a gap in them


async def store(outbox: Outbox) -> None:
    """Opens the spool and stores what comes. A disk that refuses, because it is full for instance, is tried again."""
    said = log.get("spool")
    while True:
        if outbox.opened.is_set() and outbox.failing is None:
            await outbox.wake.wait()
            await asyncio.sleep(STORE_SECONDS)
        try:
            await outbox.flush()
            if outbox.fails(None):
                said.info("the spool takes readings again")
        except SpoolError as error:
            metrics.spool_failures.inc()
            if outbox.fails(str(error)):
                said.error("the spool takes nothing: readings wait in memory", reason=str(error))
            await asyncio.sleep(RETRY_SECONDS)


async def expire(outbox: Outbox, gauges: SpoolGauges | None = None) -> None:
    """Drops what is too old, and lets the numbers catch up with the wall clock."""
    await outbox.opened.wait()
    set_on_at = monotonic()
    while True:
        if monotonic() - set_on_at >= SET_ON_SECONDS:
            set_on_at = monotonic()
            outbox.set_on(wall_clock())
        try:
            if gauges is not None:
                await gauges.show_growth(EXPIRE_SECONDS, failing=outbox.failing is not None)
            await outbox.spool.expire()
        except SpoolError:
            metrics.spool_failures.inc()
        await asyncio.sleep(EXPIRE_SECONDS)
