"""Serves HTTP to those who may ask, and holds nothing up for those who ask too much."""

import asyncio
import errno
import hmac
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from nexus.process import guard
from nexus.process.errors import ConfigError
from nexus.process.host_names import HostNames
from nexus.process.settings import Process, refuse_weak

CONNECTIONS = 64  # of one port; for one more, the one that asked least lately is closed, if its answer is complete
OF_ONE_ADDRESS = 48
IDLE_SECONDS = 10.0  # a connection has so long for its next request's headers, and a handler for its answer
BODY_BYTES = 65_536
REQUESTS_A_SECOND = 50  # of one port; who asks more often than that waits
PROBES_A_SECOND = 20  # of one address, for OPEN_PAGES; these do not wait for the others
WAITING = 16  # requests at once; more are refused, so that they leave connections for others
CACHE_SECONDS = 1.0
OPEN_PAGES = frozenset(("/health", "/ready"))  # a kubelet has no token

_WAIT_SECONDS = 1.0


class Cached:
    """A page that is made at most once a second, whoever asks; `make` awaits its making."""

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        self._make = make
        self._made = float("-inf")
        self._body = b""
        self._turn = asyncio.Lock()

    async def body(self) -> bytes:
        """The page, at most CACHE_SECONDS old."""
        async with self._turn:
            now = asyncio.get_running_loop().time
            if now() - self._made > CACHE_SECONDS:
                self._body = await self._make()
                self._made = now()
            return self._body


@asynccontextmanager
async def site(app: web.Application, process: Process, host: str, port: int, setting: str) -> AsyncIterator[None]:
    """Serves `app` while entered.

    Raises ConfigError that names `setting` when the port is taken.
    """
    refuse_weak("NEXUS_HTTP_TOKEN", process.http_token, process.environment)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it logs each wrong request; the guard counts ours
    pace = _Pace()
    app.middlewares.extend((pace.slowed, _Door(process).checked, _contained))
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=0,
        max_field_size=4096,
        max_line_size=4096,
    )
    await runner.setup()
    assert runner.server is not None
    connections = pace.connections = _Connections(runner.server)
    try:
        server = await _listen(connections, host, port, setting)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()


async def _listen(connections: "_Connections", host: str, port: int, setting: str) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(lambda: _Arrival(connections), host, port)
    except OSError as error:
        remedy = f"; set {setting} to another port, or to 0 for any" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}{remedy}") from error


@dataclass(slots=True)
class _Guest:
    """A connection: whose it is, when it last asked something, and what of that is not answered."""

    address: str
    asked: float
    requests: int = 0


class _Connections:
    """The connections of one port, as few and as calm as it can bear."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._clock = asyncio.get_running_loop().time
        self._guests: dict[web.RequestHandler, _Guest] = {}

    def admit(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Makes what serves a new connection; None if there are too many that wait for an answer."""
        known = set(self._server.connections)
        self._guests = {one: guest for one, guest in self._guests.items() if one in known}
        address = _address(transport)
        full = [one for one, guest in self._guests.items() if guest.address == address]
        if len(full) < OF_ONE_ADDRESS:
            full = list(self._guests) if len(self._guests) >= CONNECTIONS else []
        if full and not self._close_oldest(full):
            return None
        made = self._server()
        self._guests[made] = _Guest(address, self._clock())
        return made

    def _close_oldest(self, among: list[web.RequestHandler]) -> bool:
        idle = [one for one in among if not self._is_busy(one)]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: self._guests[one].asked)
        del self._guests[oldest]
        if oldest.transport is not None:
            oldest.transport.abort()
        return True

    def _is_busy(self, one: web.RequestHandler) -> bool:
        is_sending = isinstance(one.transport, asyncio.Transport) and one.transport.get_write_buffer_size() > 0
        return self._guests[one].requests > 0 or is_sending

    @contextmanager
    def answering(self, request: web.Request) -> Iterator[None]:
        """While entered, the request's connection is not closed for another's sake."""
        guest = self._guests.get(request.protocol) or _Guest("", 0.0)
        guest.requests += 1
        try:
            yield
        finally:
            guest.requests -= 1
            guest.asked = self._clock()


class _Arrival(asyncio.Protocol):
    """A new connection, until it is known whose it is."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if (made := self._connections.admit(transport)) is None:
            transport.abort()
            return
        transport.set_protocol(made)
        made.connection_made(transport)


def _address(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else ""


class _Pace:
    """Lets who asks too often wait: answering costs the time in which devices are polled."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._second, self._requests, self._waiting = 0.0, 0, 0
        self._probes: Counter[str | None] = Counter()
        self.connections: _Connections | None = None

    @web.middleware
    async def slowed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        assert self.connections is not None
        with self.connections.answering(request):
            if self._is_too_much(request):
                if self._waiting >= WAITING:
                    refused = web.Response(status=429, text="too many requests\n")
                    refused.force_close()
                    return refused
                self._waiting += 1
                try:
                    await asyncio.sleep(_WAIT_SECONDS)
                finally:
                    self._waiting -= 1
            return await handler(request)

    def _is_too_much(self, request: web.Request) -> bool:
        now = self._clock()
        if now - self._second > 1:
            self._second, self._requests = now, 0
            self._probes.clear()
        if request.path in OPEN_PAGES:  # a kubelet must not wait for what others ask
            self._probes[request.remote] += 1
            return self._probes[request.remote] > PROBES_A_SECOND
        self._requests += 1
        return self._requests > REQUESTS_A_SECOND


class _Door:
    """Lets in who calls us by a name of ours, and knows the token if there is one."""

    def __init__(self, process: Process) -> None:
        self._names = HostNames(process.http_hosts)
        self._token = f"Bearer {process.http_token}".encode() if process.http_token else None

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A page of another site, whose name was made to lead here, calls us by that name."""
        if (host := request.headers.get("Host")) is not None and not self._names.is_ours(host):
            return web.Response(status=421, text=f"{host[:100]!r} is none of our names: see NEXUS_HTTP_HOSTS\n")
        if self._token is not None and request.path not in OPEN_PAGES:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, self._token):
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="see NEXUS_HTTP_TOKEN\n")
        return await handler(request)


@web.middleware
async def _contained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await handler(request)
    except TimeoutError:
        return web.Response(status=503, text="no answer in time\n")
    except web.HTTPException:
        raise
    except Exception as error:
        guard.failed("request", f"{request.method} {request.path[:200]}", error)
        return web.Response(status=500, text="internal error; see the log\n")
