"""Totals on disk, beside the spool: written every few seconds and at the stop, read when a device is taken."""

import asyncio
import math
import os
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

from nexus.contract.codec import DecodeError
from nexus.contract.totals import Totals, decode_all_totals, encode_totals, merge
from nexus.process import log

WRITE_SECONDS = 5.0
LOOK_SECONDS = 1.0  # thousands of devices may be taken over at once
MOST_HEARD = 100_000  # of devices of other gateways


class KeptTotals:
    """By device path and tag, in a file of this gateway's own; others that share the folder have theirs.

    Those of devices and tags that are in no file any more stay: they may come back.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._file = folder, folder / f"totals-{number}.json"
        self._log = log.get("totals")
        self._read: dict[Path, tuple[int, dict[str, Totals]]] = {}  # by file: when it was last changed
        self._looked = -math.inf
        self._look()
        self._totals: dict[str, Totals] = dict(self._read[self._file][1]) if self._file in self._read else {}
        self._heard: dict[str, Totals] = {}
        self._written = b""
        self._is_failing = False
        self._replacing = threading.Lock()

    def of(self, path: str) -> Totals:
        """The totals of a device that is polled here from now on, as its last gateway kept them."""
        own = self._totals.setdefault(path, {})
        self._look()
        for _, totals in self._read.values():
            merge(own, totals.get(path, {}))
        merge(own, self._heard.pop(path, {}))
        return own

    def hear(self, path: str, totals: Totals) -> None:
        """Takes the totals of a device that another gateway polls."""
        if path in self._heard or len(self._heard) < MOST_HEARD:
            merge(self._heard.setdefault(path, {}), totals)

    async def run(self) -> None:
        """Writes changes, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what has changed."""
        data = encode_totals({path: some for path, some in self._totals.items() if some})
        if data == self._written:
            return
        try:
            await asyncio.to_thread(self._replace, data)
        except OSError as error:
            if not self._is_failing:
                self._log.error("totals cannot be kept", file=str(self._file), reason=error.strerror)
            self._is_failing = True
            return
        if self._is_failing:
            self._log.info("totals are kept again", file=str(self._file))
        self._written, self._is_failing = data, False

    def _look(self) -> None:
        """Reads the folder's files that have changed; our own is read only once."""
        if (now := monotonic()) - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for file in sorted(self._folder.glob("totals-*.json")):
            if file == self._file and file in self._read:
                continue
            try:
                changed = file.stat().st_mtime_ns
                if file not in self._read or self._read[file][0] != changed:
                    self._read[file] = changed, decode_all_totals(file.read_bytes())
            except OSError:
                continue  # it was just replaced
            except DecodeError as error:
                self._log.error("totals cannot be read: they begin at 0", file=str(file), reason=str(error))
                with suppress(OSError):
                    file.replace(file.with_suffix(".damaged"))

    def _replace(self, data: bytes) -> None:
        """Raises OSError."""
        new = self._file.with_suffix(".new")
        with self._replacing:  # a thread continues when its task is cancelled
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
            new.replace(self._file)
