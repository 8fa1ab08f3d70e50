"""File descriptors: keeps enough of them for the broker, the spool, files and pages."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from gateway.drivers.driver import DeviceError
from nexus.process import log

WAIT_SECONDS = 1.0  # for connections that are being made
RESERVED = 192  # two ports with 64 connections each, and everything else; a quarter of a low limit

T = TypeVar("T")

_connections: set[object] = set()  # of devices, open or being opened; those on one line share a descriptor
_being_made: set[object] = set()  # of these, those that may not have a descriptor yet
_waiting: dict["asyncio.Future[None]", None] = {}


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
    """How many descriptors there are for devices, without the reserve."""
    return _limit() - min(RESERVED, _limit() // 4)


@asynccontextmanager
async def spared(connection: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enters a device's connection, unless it would use up the reserve. Raises DeviceError.

    Near that, it first waits for what becomes of those that are being made.
    """
    await _room()
    _connections.add(connection)
    _being_made.add(connection)
    try:
        async with connection as made:
            _settled(connection)
            if len(_connections) + RESERVED > for_devices() and _in_use() > for_devices():
                raise _none_left()
            yield made
    finally:
        _settled(connection)
        _connections.discard(connection)


async def _room() -> None:
    while _lowest_free() + len(_being_made) >= for_devices():
        if not _being_made:
            _wake_next()
            raise _none_left()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _waiting[turn] = None
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                _wake_next()  # it was our turn
            if isinstance(error, TimeoutError):
                raise _none_left() from None
            raise
        finally:
            del _waiting[turn]


def _settled(connection: object) -> None:
    if connection in _being_made:
        _being_made.remove(connection)
        _wake_next()


def _wake_next() -> None:
    for turn in _waiting:
        if not turn.done():
            turn.set_result(None)
            return


def _lowest_free() -> int:
    """A new descriptor gets the lowest free number, so all below it are in use."""
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _limit()
    os.close(number)
    return number


def _in_use() -> int:
    """Exactly how many are in use; takes a millisecond for some thousand."""
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
