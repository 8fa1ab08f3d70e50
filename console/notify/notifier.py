"""Notifications in the console's process: the file, as it changes, and whether this console is the one that sends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from console import metrics
from console.database import reason
from console.notify import ledger
from console.notify.channels.mqtt import Publish
from console.notify.channels.sending import Means
from console.notify.config import Config, load
from console.notify.leader import Leader
from console.notify.ledger import Ledger
from nexus.config.files import signature
from nexus.process import log
from nexus.process.backoff import delay
from nexus.process.run import run_until

FILE_SECONDS = 2.0
STANDBY_SECONDS = 1.0
_LONGEST_PAUSE = 5.0  # between attempts to reach the database


@dataclass(frozen=True)
class Surroundings:
    """The database, `environment` (NEXUS_ENVIRONMENT), the console's address, and the broker."""

    database_url: str
    environment: str
    address: str | None
    publish: Publish


class Notifier:
    """Reads the file at once. Raises ConfigError with all that is wrong with it."""

    def __init__(self, path: Path, around: Surroundings) -> None:
        self._path = path
        self._around = around
        self._config = load(path, around.environment)
        self._seen = signature(path)
        self._error: str | None = None
        self._changed = asyncio.Event()
        self._log = log.get("notify")
        metrics.notify_configured.set(1)

    def problems(self) -> list[str]:
        """What is wrong with the file since it changed; it goes on as it was."""
        if self._error is None:
            return []
        return ["the file of notifications is wrong: the last good one counts", *self._error.splitlines()]

    async def run(self) -> None:
        """Sends, or stands by, until cancelled."""
        failures, was_away = 0, False
        while True:
            try:
                self._changed.clear()
                async with ledger.connected(self._around.database_url) as session:
                    await self._stand_by(session)
                    if was_away:
                        self._log.info("notifications go on")
                    failures, was_away = 0, False
                    await self._lead(session, self._config)
            except (psycopg.Error, OSError, TimeoutError) as error:
                failures += 1
                if not was_away:
                    self._log.warning("notifications wait for the database", reason=reason(error))
                was_away = True
                await asyncio.sleep(delay(failures, 0.5, _LONGEST_PAUSE))

    async def _stand_by(self, session: Ledger) -> None:
        """Until no other console sends."""
        while True:
            if await session.lead():
                return
            await asyncio.sleep(STANDBY_SECONDS)

    async def _lead(self, session: Ledger, config: Config) -> None:
        """Until the file has changed, or the session is lost."""
        around = self._around
        means = Means(config.routes.zone, around.address, around.publish)
        self._log.info("this console sends notifications", receivers=len(config.receivers))
        metrics.notify_leading.set(1)
        try:
            await run_until(self._changed, Leader(config, session, means).run())
        finally:
            metrics.notify_leading.set(0)
            for gauge in (
                metrics.notifications_queued,
                metrics.notifications_pending,
                metrics.notifications_oldest,
                metrics.notifications_dead,
            ):
                gauge.set(0)

    async def watch(self) -> None:
        """Takes a changed file if it is right, until cancelled."""
        while True:
            await asyncio.sleep(FILE_SECONDS)
            if (now := await asyncio.to_thread(signature, self._path)) != self._seen:
                self._seen = now
                await self._reload(lambda: load(self._path, self._around.environment))

    async def _reload(self, read: Callable[[], Config]) -> None:
        try:
            self._config = await asyncio.to_thread(read)
        except Exception as error:  # also what nobody foresaw leaves the last good one
            self._error = str(error)
            metrics.notify_config_error.set(1)
            self._log.error("the changed file of notifications is wrong: nothing is changed", errors=self.problems())
            return
        self._error = None
        metrics.notify_config_error.set(0)
        self._changed.set()
        self._log.info("the file of notifications has changed", receivers=len(self._config.receivers))
