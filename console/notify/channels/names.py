"""Looks names up in threads of one receiver's own: those that no name server answers for delay nobody else."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from typing import TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

MOST = 4  # at a time, with those that nobody waits for any more
ADDRESS_SECONDS = 3.0  # for each address of a name but the last: behind a firewall one may never answer

T = TypeVar("T")
_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Info = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]


@cache
def _looked_up() -> str:
    return socket.getfqdn()


_looking_up = threading.Lock()


def _own_name() -> str:
    with _looking_up:
        return _looked_up()


class Names:
    """Of one receiver. The threads hold up no end of the process."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST)

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> Sequence[_Info]:
        """As `getaddrinfo` gives them. Raises OSError."""

        def ask() -> Sequence[_Info]:
            return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)

        return await self._asked(ask)

    async def own(self) -> str:
        """This machine's name, as mail servers want to hear it; looked up once in a process."""
        return await self._asked(_own_name)

    async def connected(self, host: str, port: int) -> socket.socket:
        """A connection to the first of its addresses that takes one. Raises OSError."""
        failed: OSError = OSError(f"{host} has no address")
        found = await self.addresses(host, port)
        for left, (family, kind, protocol, _, address) in zip(range(len(found))[::-1], found, strict=True):
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                async with asyncio.timeout(ADDRESS_SECONDS if left else None):
                    await asyncio.get_running_loop().sock_connect(made, address)
            except OSError as error:
                made.close()
                failed = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise failed

    async def _asked(self, ask: Callable[[], T]) -> T:
        await self._free.acquire()
        loop, answer = asyncio.get_running_loop(), Future[T]()
        answer.set_running_or_notify_cancel()

        def run() -> None:
            try:
                answer.set_result(ask())
            except Exception as error:
                answer.set_exception(error)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._free.release)

        threading.Thread(target=run, name="names of a receiver", daemon=True).start()
        return await asyncio.wrap_future(answer)


class Resolver(AbstractResolver):
    """The same for aiohttp."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """All addresses of a name. Raises OSError."""
        return [
            ResolveResult(
                hostname=host,
                host=_text(address),
                port=port,
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in await self._names.addresses(host, port, family)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _text(address: tuple[object, ...]) -> str:
    """An address without its port; one of a link has its interface."""
    scope = f"%{address[3]}" if len(address) == 4 and address[3] else ""
    return f"{address[0]}{scope}"
