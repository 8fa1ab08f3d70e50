"""Watches the device files: valid changes are applied, invalid ones change nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from gateway import metrics
from gateway.config import device_files
from gateway.config import devices as config
from gateway.config.devices import ConfiguredDevice
from gateway.config.loader import Loader
from nexus.config.diagnostics import Diagnostics
from nexus.process import log, supervisor
from nexus.process.errors import ConfigError

POLL_SECONDS = 1.0
AGAIN_SECONDS = 30.0  # wrong files are tried again: a file that they name, such as a certificate, may exist by now


class ConfigWatcher:
    """The device files, and what is wrong with them. `kept` is where the last good ones are.

    Whoever changes several files holds `changing`, so that they are taken all at once.
    """

    def __init__(self, path: Path, prefix: str, kept: Path) -> None:
        self._path = path
        self._prefix = prefix
        self.kept = kept
        self.changing = asyncio.Lock()
        self._loader = Loader(path, prefix, kept)
        self._seen = device_files.signature(path)
        self.digest = ""  # of the files on disk
        self._error: str | None = None
        self._is_last_good = False
        self._configured: tuple[ConfiguredDevice, ...] = ()
        self._log = log.get("reload")

    @property
    def error(self) -> str | None:
        """What is wrong with the files on disk; None while they are in use."""
        return self._error

    def problems(self) -> list[str]:
        """What is wrong with the files on disk; polling continues as before."""
        if self._error is None:
            return []
        head = ["the device files are wrong: polling the last good ones"] if self._is_last_good else []
        return [*head, *self._error.splitlines()]

    def start(self) -> tuple[ConfiguredDevice, ...]:
        """The devices to start with, from the last good files if those on disk are wrong. Raises ConfigError."""
        self.digest = self._digested()
        try:
            files, self._configured = config.read(self._path, prefix=self._prefix)
        except ConfigError as error:
            self._configured = self._last_good(error)
            return self._configured
        try:
            device_files.keep(files, self.kept)
        except OSError as error:
            self._log.warning(
                "the device files cannot be kept for a start beside broken ones; see NEXUS_SPOOL_DIR",
                file=str(self.kept),
                reason=error.strerror,
            )
        return self._configured

    async def run(self, on_change: Callable[[tuple[ConfiguredDevice, ...]], None]) -> None:
        """Calls `on_change` with the devices of each new, valid state, for ever."""
        looked = monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await asyncio.to_thread(device_files.signature, self._path)
            is_again = self._error is not None and monotonic() - looked > AGAIN_SECONDS
            if now == self._seen and not is_again:
                continue
            looked = monotonic()
            async with self.changing:
                now = await asyncio.to_thread(device_files.signature, self._path)
                self.digest = await asyncio.to_thread(self._digested)
                await self._reload(on_change)
            self._seen = now

    async def _reload(self, on_change: Callable[[tuple[ConfiguredDevice, ...]], None]) -> None:
        """Loads the files as they are now; any failure is noted as a problem, and tried again."""
        try:
            configured = await self._loader.load(self._configured)
            on_change(configured)
        except ConfigError as error:
            self._refuse(str(error))
        except Exception as error:
            supervisor.failed("file", "reload", error)
            self._refuse(f"{self._path}: cannot be taken now, which is tried again: {error!r}")
        else:
            self._take(configured)

    def _digested(self) -> str:
        try:
            return device_files.digest(device_files.read(self._path, Diagnostics()))
        except ConfigError:
            return ""

    def _last_good(self, error: ConfigError) -> tuple[ConfiguredDevice, ...]:
        files = device_files.kept_files(self.kept)
        if files is None:
            raise error
        try:
            configured = config.build(files, self._path, prefix=self._prefix)
        except ConfigError:
            raise error from None  # the files on disk are the ones to mend
        self._error, self._is_last_good = str(error), True
        metrics.config_error.set(1)
        metrics.last_good.set(1)
        self._log.error("the device files are wrong: polling the last good ones", errors=str(error).splitlines())
        return configured

    def _refuse(self, error: str) -> None:
        if error == self._error:
            return
        self._error = error
        metrics.reloads.labels("refused").inc()
        metrics.config_error.set(1)
        self._log.error("the changed device files are wrong: nothing is changed", errors=self.problems())

    def _take(self, configured: tuple[ConfiguredDevice, ...]) -> None:
        self._error, self._is_last_good, self._configured = None, False, configured
        metrics.reloads.labels("taken").inc()
        metrics.config_error.set(0)
        metrics.last_good.set(0)
        self._log.info("the device files have changed", devices=len(configured))
