"""Standard error for logs: when its reader is gone, or its disk full, lines are lost, and nothing else."""

import io
import os

from typing_extensions import Buffer

_STANDARD_ERROR = 2


class _Raw(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        try:
            return os.write(_STANDARD_ERROR, data)
        except OSError:
            return memoryview(data).nbytes


def standard_error() -> io.TextIOWrapper:
    """A file that takes every line."""
    buffered = io.BufferedWriter(_Raw())
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
