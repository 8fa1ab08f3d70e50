"""Memory that large answers took goes back to the system."""

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 1_048_576  # bytes


def give_back() -> None:
    """Lets glibc map each large block by itself, and unmap it once it is free.

    It does so by default, until the first one is freed: then it takes blocks of that size from its heap, where small
    ones that live for longer keep it from shrinking. Other C libraries go on as they do.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
