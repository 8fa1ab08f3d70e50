"""File descriptors: keeps enough of them for the broker, the spool, files and pages."""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from gateway.drivers.driver import DeviceError
from nexus.process import log

RESERVED = 192  # two ports with 64 connections each, and what the rest takes; of a low limit a quarter

T = TypeVar("T")


def warn(devices: int) -> None:
    """Logs a warning if the devices may need more than there are."""
    if devices > (most := for_devices()):
        log.get("gateway").warning(
            "not all devices may be connected at once: raise the limit of open files (LimitNOFILE= in a systemd unit, "
            "`ulimit -n`, `ulimits:` in compose)",
            devices=devices,
            connections=most,
            limit=_limit(),
        )


def for_devices() -> int:
    """How many there are without the reserve."""
    return _limit() - min(RESERVED, _limit() // 4)


@asynccontextmanager
async def spared(connection: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enters a device's connection, unless it would use up the reserve. Raises DeviceError."""
    _check()
    async with connection as made:
        _check()  # others may have connected meanwhile
        yield made


def _check() -> None:
    """A new descriptor has the lowest number that is free: so all below are taken."""
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(number)
    except OSError:
        number = _limit()
    if number >= for_devices():
        raise DeviceError(
            f"no descriptors are left for devices: this process may open {_limit()} files; raise that limit (ulimit -n)"
        )


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
