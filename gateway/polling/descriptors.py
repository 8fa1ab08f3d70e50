"""File descriptors: keeps enough of them for the broker, the spool, files and pages."""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from gateway.drivers.driver import DeviceError
from nexus.process import log

RESERVED = 192  # two ports with 64 connections each, and what the rest takes; of a low limit a quarter

T = TypeVar("T")

_connections: set[object] = set()  # of devices, made or being made; those on one line share a descriptor


def warn(devices: int) -> None:
    """Logs a warning if the devices may need more than there are."""
    if devices > (most := for_devices()):
        log.get("gateway").warning(
            "too few file descriptors to connect all devices at once: raise the limit (LimitNOFILE= in a systemd unit, "
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
    if _lowest_free() >= for_devices():
        raise _none_left()
    _connections.add(connection)
    try:
        async with connection as made:
            # Those that connected meanwhile may have taken more than there were.
            if len(_connections) + RESERVED > for_devices() and _in_use() > for_devices():
                raise _none_left()
            yield made
    finally:
        _connections.discard(connection)


def _lowest_free() -> int:
    """A new descriptor has the lowest number that is free: so all below are taken."""
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _limit()
    os.close(number)
    return number


def _in_use() -> int:
    """How many there are, exactly; takes a millisecond for some thousand."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return _limit()


def _none_left() -> DeviceError:
    return DeviceError(
        f"no file descriptors left for devices: this process may open {_limit()} files; raise the limit (ulimit -n)"
    )


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
