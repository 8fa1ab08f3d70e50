"""Keeps the disk up to date with a backlog, for ever, whatever the disk says."""

import asyncio
from time import monotonic

from gateway import metrics
from gateway.delivery.backlog import Backlog
from gateway.delivery.spool import SpoolError
from gateway.delivery.spool_file import wall_clock
from nexus.process import log

STORE_SECONDS = 0.25  # what a killed process loses at most, and how often the disk has to flush
RETRY_SECONDS = 2.0
EXPIRE_SECONDS = 10.0
SET_ON_SECONDS = (
    3600.0  # as often the numbers catch up with the wall clock: each time leaves a gap in the historian's book
)


async def store(backlog: Backlog) -> None:
    """Opens the spool, and brings to it what comes. A disk that is full is tried again."""
    said = log.get("spool")
    while True:
        if backlog.opened.is_set() and backlog.failing is None:
            await backlog.wake.wait()
            await asyncio.sleep(STORE_SECONDS)
        try:
            await backlog.flush()
            if backlog.failing is not None:
                said.info("the spool takes readings again")
            backlog.failing = None
            backlog.tried.set()
        except SpoolError as error:
            backlog.tried.set()
            metrics.spool_failures.inc()
            if backlog.failing is None:
                said.error("the spool takes nothing: readings wait in memory", reason=str(error))
            backlog.failing = str(error)
            await asyncio.sleep(RETRY_SECONDS)


async def expire(backlog: Backlog) -> None:
    """Drops what is too old, and lets the numbers catch up with the wall clock."""
    await backlog.opened.wait()
    set_on_at = monotonic()
    while True:
        if monotonic() - set_on_at >= SET_ON_SECONDS:
            set_on_at = monotonic()
            backlog.set_on(wall_clock())
        backlog.show()
        try:
            if backlog.gauges is not None:
                await backlog.gauges.show_growth(EXPIRE_SECONDS, failing=backlog.failing is not None)
            await backlog.spool.expire()
        except SpoolError:
            metrics.spool_failures.inc()
        await asyncio.sleep(EXPIRE_SECONDS)
