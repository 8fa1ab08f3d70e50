"""Serves HTTP to those who may ask, and holds nothing up for those who ask too much."""

import asyncio
import hmac
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from nexus.runtime import guard
from nexus.runtime.errors import ConfigError
from nexus.runtime.settings import Process, refuse_weak

CONNECTIONS = 64  # of one port; for one more, the one that asked least lately is closed
IDLE_SECONDS = 10.0  # a connection has so long for its next request's headers, and a handler for its answer
BODY_BYTES = 65_536
REQUESTS_A_SECOND = 50  # of one port; who asks more often than that waits
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
    """Serves `app` while entered; a host like `unix:/run/x.sock` is a socket file, open to whoever may use the file.

    Raises ConfigError that names `setting` when the port is taken.
    """
    refuse_weak("NEXUS_HTTP_TOKEN", process.http_token, process.environment)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it logs each wrong request; the guard counts ours
    path = host.removeprefix("unix:")
    pace = _Pace()
    app.middlewares.append(pace.slowed)
    if path == host:
        app.middlewares.append(_Door(process).checked)
    app.middlewares.append(_contained)
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
        server = await _listen(connections, host, path, port, setting)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()


async def _listen(connections: "_Connections", host: str, path: str, port: int, setting: str) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    try:
        if path != host:
            return await loop.create_unix_server(connections, path)
        return await loop.create_server(connections, host, port)
    except OSError as error:
        raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error


class _Connections:
    """The connections of one port, as few and as calm as it can bear."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._asked: dict[asyncio.BaseProtocol, float] = {}
        self._coming: set[asyncio.BaseProtocol] = set()  # accepted, and not yet the server's

    def __call__(self) -> asyncio.Protocol:
        """Makes what serves a new connection."""
        known = self._coming.union(self._server.connections)
        self._asked = {one: asked for one, asked in self._asked.items() if one in known}
        if len(self._asked) >= CONNECTIONS and not self._close_oldest():
            return _Refused()
        made = self._server()
        self._asked[made] = self._loop.time()
        self._coming.add(made)
        self._loop.call_soon(self._coming.discard, made)  # just before it is told of its connection
        return made

    def _close_oldest(self) -> bool:
        made = [one for one in self._server.connections if one in self._asked]
        if not made:
            return False
        oldest = min(made, key=self._asked.__getitem__)
        del self._asked[oldest]
        if oldest.transport is not None:
            oldest.transport.abort()
        return True

    def asked(self, request: web.Request) -> None:
        """Its connection is in use."""
        if request.protocol in self._asked:
            self._asked[request.protocol] = self._loop.time()


class _Refused(asyncio.Protocol):
    """One connection too many, at a moment when all others are as new."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Pace:
    """Lets who asks too often wait: answering costs the time in which devices are polled."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._second, self._requests = 0.0, 0
        self.connections: _Connections | None = None

    @web.middleware
    async def slowed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.connections is not None:
            self.connections.asked(request)
        now = self._clock()
        if now - self._second > 1:
            self._second, self._requests = now, 0
        self._requests += 1
        if self._requests > REQUESTS_A_SECOND:
            await asyncio.sleep(_WAIT_SECONDS)
        return await handler(request)


class _Door:
    """Lets in who calls us by a name of ours, and knows the token if there is one."""

    def __init__(self, process: Process) -> None:
        self._hosts = {"localhost", socket.gethostname().lower(), *process.http_hosts}
        self._token = f"Bearer {process.http_token}".encode() if process.http_token else None

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A page of another site, whose name was made to lead here, calls us by that name."""
        if (host := request.headers.get("Host")) is not None and not self._is_ours(host):
            return web.Response(status=421, text=f"{host[:100]!r} is none of our names: see NEXUS_HTTP_HOSTS\n")
        if self._token is not None and request.path not in OPEN_PAGES:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, self._token):
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="see NEXUS_HTTP_TOKEN\n")
        return await handler(request)

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self._hosts
        return True


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
        return web.Response(status=500, text="a fault of ours; the log has it\n")
