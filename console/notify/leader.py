"""What the one console does that sends: it judges what is queued, wakes the receivers' workers, and keeps house."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import NamedTuple

import psycopg

from console import metrics
from console.historian.notifications import COUNTED
from console.notify import intake, outbox
from console.notify.channels.names import Names
from console.notify.channels.sending import Means
from console.notify.config import Config
from console.notify.ledger import Ledger
from console.notify.resend import tell_again
from console.notify.worker import Worker
from nexus.process import log, supervisor
from nexus.process.run import task_group

LOOK_SECONDS = 0.25
_MEASURE_SECONDS = 2.0
_KEEP_SECONDS = 60.0

_LOOK = """
SELECT clock_timestamp(), EXISTS (SELECT FROM notification_queue),
    EXISTS (SELECT FROM notification_waits WHERE due <= clock_timestamp()),
    ARRAY(SELECT name FROM unnest(%s::text[]) AS name WHERE EXISTS (
        SELECT FROM notifications WHERE receiver = name AND state = 'pending' AND due <= clock_timestamp()
    ))
"""
_MEASURE = """
SELECT (SELECT count(*) FROM (SELECT FROM notification_queue LIMIT %(most)s) AS queued),
    (SELECT count(*) FROM (SELECT FROM notifications WHERE state = 'pending' LIMIT %(most)s) AS pending),
    coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT min(created) FROM notifications WHERE state = 'pending'
    )), 0)::float8,
    (SELECT count(*) FROM (SELECT FROM notifications WHERE state = 'dead' LIMIT %(most)s) AS dead)
"""


class _Seen(NamedTuple):
    now: datetime
    is_queued: bool
    is_waiting: bool
    receivers: Sequence[str]


class Leader:
    """Works on a session that holds the lock."""

    def __init__(self, config: Config, ledger: Ledger, means: Means) -> None:
        self._config = config
        self._ledger = ledger
        # Each looks names up for itself: see Names.
        of_each = {name: replace(means, names=Names()) for name in config.receivers}
        self._workers = [Worker(one, ledger, of_each[one.name]) for one in config.receivers.values()]
        self._log = log.get("notify")

    async def run(self) -> None:
        """Sends until cancelled. Raises psycopg.Error when the session is lost."""
        await self._ledger.renew()
        async with task_group(psycopg.Error) as group:
            for worker in self._workers:
                supervisor.part(group, worker.run(), name=f"notify {worker.name}")
                if worker.name in self._config.routes.states:
                    told = tell_again(worker, self._config, self._ledger)
                    supervisor.part(group, told, name=f"resend {worker.name}")
            supervisor.part(group, self._keep_house(), name="notify house")
            await self._look()

    async def _look(self) -> None:
        measured = 0.0
        while True:
            async with self._ledger.transaction() as connection:
                names = list(self._config.receivers)
                [row] = await (await connection.execute(_LOOK, (names,))).fetchall()
                seen = _Seen(*row)
                if seen.is_queued:
                    await intake.take(connection, self._config, seen.now)
                if seen.is_waiting:
                    await intake.escalate(connection, self._config, seen.now)
            if seen.is_waiting:
                await self._give_up_gone()
            for worker in self._workers:
                if worker.name in seen.receivers or seen.is_queued or seen.is_waiting:
                    worker.wake()
            if monotonic() - measured > _MEASURE_SECONDS:
                measured = monotonic()
                await self._measure()
            if not seen.is_queued:
                await asyncio.sleep(LOOK_SECONDS)

    async def _measure(self) -> None:
        async with self._ledger.transaction() as connection:
            found = await (await connection.execute(_MEASURE, {"most": COUNTED})).fetchall()
        [(queued, pending, oldest, dead)] = found
        metrics.notifications_queued.set(queued)
        metrics.notifications_pending.set(pending)
        metrics.notifications_oldest.set(oldest)
        metrics.notifications_dead.set(dead)

    async def _give_up_gone(self) -> None:
        gone, count = 0, 1
        while count:
            async with self._ledger.transaction() as connection:
                count = await outbox.give_up_gone(connection, list(self._config.receivers))
            gone += count
        if gone:
            self._log.error("notifications are dead: their receiver is not in the file any more", count=gone)

    async def _keep_house(self) -> None:
        while True:
            await self._ledger.renew()
            await self._give_up_gone()  # also those that were sent again by hand
            async with self._ledger.transaction() as connection:
                await outbox.drop_old(connection, await outbox.clock(connection), self._config.keep)
            await asyncio.sleep(_KEEP_SECONDS)
