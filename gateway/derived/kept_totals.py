"""Totals on disk, beside the spool: written every few seconds and at the stop, read at the start."""

import asyncio
import heapq
import os
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.derived.totals import Kept
from nexus.process import log

WRITE_SECONDS = 5.0
MOST_KEPT = 100_000  # those that changed last; also of tags that are in no file now, and may come back

_Totals = dict[str, dict[str, Kept]]

_decoder = msgspec.json.Decoder(_Totals)
_encoder = msgspec.json.Encoder()


class KeptTotals:
    """By device path and tag, in a file of this gateway's own; others that share the folder have theirs."""

    def __init__(self, folder: Path, number: int) -> None:
        self._file = folder / f"totals-{number}.json"
        self._log = log.get("totals")
        self._totals = self._read(folder)
        self._written = _encoder.encode(self._totals)
        self._is_failing = False
        self._replacing = threading.Lock()

    def of(self, path: str) -> dict[str, Kept]:
        """Those of a device, which whoever polls it changes."""
        return self._totals.setdefault(path, {})

    async def run(self) -> None:
        """Writes for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what has changed."""
        data = _encoder.encode({path: some for path, some in self._totals.items() if some})
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

    def _read(self, folder: Path) -> _Totals:
        """What all gateways of the folder have kept: of each total what is newest."""
        newest: dict[tuple[str, str], Kept] = {}
        for file in sorted(folder.glob("totals-*.json")):
            try:
                found = _decoder.decode(file.read_bytes())
            except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                self._log.error("totals cannot be read: they begin at 0", file=str(file), reason=str(error))
                with suppress(OSError):
                    file.replace(file.with_suffix(".damaged"))
                continue
            for path, some in found.items():
                for tag, kept in some.items():
                    if (known := newest.get((path, tag))) is None or known.time < kept.time:
                        newest[path, tag] = kept
        totals: _Totals = {}
        for path, tag in heapq.nlargest(MOST_KEPT, newest, key=lambda key: newest[key].time):
            totals.setdefault(path, {})[tag] = newest[path, tag]
        return totals

    def _replace(self, data: bytes) -> None:
        """Raises OSError."""
        new = self._file.with_suffix(".new")
        with self._replacing:  # a thread whose task was cancelled goes on
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
            new.replace(self._file)
