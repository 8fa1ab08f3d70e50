"""Standard error for logs: lines that cannot be written are dropped and counted; no service waits for them."""

import io
import os
import select

from prometheus_client import Counter
from typing_extensions import Buffer

WAIT_SECONDS = 0.1  # for a slow reader; only once for a reader that has stopped

_STANDARD_ERROR = 2
_AT_ONCE = select.PIPE_BUF  # bytes that a pipe with room takes without blocking

# Each service's registry takes it: see the services' `metrics` modules.
lost = Counter("nexus_log_lines_lost", "Lines of the log that could not be written", registry=None)


class _Raw(io.RawIOBase):
    def __init__(self) -> None:
        self._room = select.poll()
        self._room.register(_STANDARD_ERROR, select.POLLOUT)
        self._stuck = False

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        try:
            self._write(view)
        except OSError:  # BlockingIOError is one
            lost.inc(max(1, bytes(view).count(b"\n")))
        return view.nbytes

    def _write(self, view: memoryview) -> None:
        for begin in range(0, view.nbytes, _AT_ONCE):
            part = view[begin : begin + _AT_ONCE]
            while part:
                self._stuck = not self._room.poll(0 if self._stuck else WAIT_SECONDS * 1000)
                if self._stuck:
                    raise BlockingIOError
                part = part[os.write(_STANDARD_ERROR, part) :]


def standard_error() -> io.TextIOWrapper:
    """A file that takes every line."""
    buffered = io.BufferedWriter(_Raw())
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
