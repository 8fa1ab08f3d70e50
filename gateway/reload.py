"""Watches the device files: a changed one is taken if it is right, and changes nothing if it is not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from gateway import config, metrics
from gateway.config import Configured
from nexus.runtime import log
from nexus.runtime.errors import ConfigError

POLL_SECONDS = 1.0

Signature = tuple[tuple[str, int, int, int], ...]


class Watch:
    """Looks at the files themselves, by time, size and inode: that also sees a ConfigMap swapped by symbolic link."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _signature(path)
        self._error: str | None = None

    def problems(self) -> list[str]:
        """What is wrong with the files on disk; the devices go on as they were."""
        return self._error.splitlines() if self._error else []

    async def run(self, on_change: Callable[[tuple[Configured, ...]], None]) -> None:
        """Calls `on_change` with the devices of each new, valid state, for ever."""
        logger = log.get("reload")
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await asyncio.to_thread(_signature, self._path)
            if now == self._seen:
                continue
            self._seen = now
            try:
                configured = await asyncio.to_thread(config.load, self._path)
            except ConfigError as error:
                self._error = str(error)
                metrics.reloads.labels("refused").inc()
                metrics.config_error.set(1)
                logger.error("the changed device files are wrong: nothing is changed", errors=self.problems())
                continue
            self._error = None
            metrics.reloads.labels("taken").inc()
            metrics.config_error.set(0)
            logger.info("the device files have changed", devices=len(configured))
            on_change(configured)


def _signature(path: Path) -> Signature:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append((file.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
