"""Serves HTTP to authorised clients, within limits, so that demanding clients hold nothing up."""

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

from nexus.process import supervisor
from nexus.process.errors import ConfigError
from nexus.process.host_names import HostNames
from nexus.process.settings import Process, refuse_weak

CONNECTIONS = 64  # of one port; for one more, the one that asked least lately is closed, if its answer is complete
OF_ONE_ADDRESS = 48
IDLE_SECONDS = 10.0  # for the headers of a connection's next request, and for a handler's answer
BODY_BYTES = 65_536
REQUESTS_A_SECOND = 50  # requests of one port; more have to wait
PROBES_A_SECOND = 20  # of one address, for OPEN_PAGES; these do not wait for the others
WAITING = 16  # requests at once; more are refused, so that connections are left for others
CACHE_SECONDS = 1.0
OPEN_PAGES = frozenset(("/health", "/ready"))  # a kubelet has no token

_WAIT_SECONDS = 1.0


class Cached:
    """A page that is generated at most once a second, however often it is requested; `make` generates it."""

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
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it logs every bad request
    rate_limit = _RateLimit()
    app.middlewares.extend((rate_limit.slowed, _Access(process).checked, _contained))
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
    connections = rate_limit.connections = _Connections(runner.server)
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
        return await loop.create_server(lambda: _NewConnection(connections), host, port)
    except OSError as error:
        remedy = f"; set {setting} to another port, or to 0 for any" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}{remedy}") from error


@dataclass(slots=True)
class _Client:
    """A connection: its client, the time of its last request, and whether an answer is pending."""

    address: str
    asked: float
    requests: int = 0


class _Connections:
    """The connections of one port, limited in number and rate."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._clock = asyncio.get_running_loop().time
        self._clients: dict[web.RequestHandler, _Client] = {}

    def admit(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """The protocol for a new connection; None if too many are waiting for an answer."""
        known = set(self._server.connections)
        self._clients = {one: client for one, client in self._clients.items() if one in known}
        address = _address(transport)
        full = [one for one, client in self._clients.items() if client.address == address]
        if len(full) < OF_ONE_ADDRESS:
            full = list(self._clients) if len(self._clients) >= CONNECTIONS else []
        if full and not self._close_oldest(full):
            return None
        made = self._server()
        self._clients[made] = _Client(address, self._clock())
        return made

    def _close_oldest(self, among: list[web.RequestHandler]) -> bool:
        idle = [one for one in among if not self._is_busy(one)]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: self._clients[one].asked)
        del self._clients[oldest]
        if oldest.transport is not None:
            oldest.transport.abort()
        return True

    def _is_busy(self, one: web.RequestHandler) -> bool:
        is_sending = isinstance(one.transport, asyncio.Transport) and one.transport.get_write_buffer_size() > 0
        return self._clients[one].requests > 0 or is_sending

    @contextmanager
    def answering(self, request: web.Request) -> Iterator[None]:
        """While entered, the request's connection is not closed to make room for another."""
        client = self._clients.get(request.protocol) or _Client("", 0.0)
        client.requests += 1
        try:
            yield
        finally:
            client.requests -= 1
            client.asked = self._clock()


class _NewConnection(asyncio.Protocol):
    """A new connection, until its client's address is known."""

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


class _RateLimit:
    """Delays requests that come too often: answering them takes time from polling devices."""

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
        if request.path in OPEN_PAGES:  # a kubelet must not wait for other clients
            self._probes[request.remote] += 1
            return self._probes[request.remote] > PROBES_A_SECOND
        self._requests += 1
        return self._requests > REQUESTS_A_SECOND


class _Access:
    """Admits requests that use one of our host names, and have the token if there is one."""

    def __init__(self, process: Process) -> None:
        self._names = HostNames(process.http_hosts)
        self._token = f"Bearer {process.http_token}".encode() if process.http_token else None

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks name and token. A foreign site whose name was pointed here (DNS rebinding) uses that name."""
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
        supervisor.failed("request", f"{request.method} {request.path[:200]}", error)
        return web.Response(status=500, text="internal error; see the log\n")
