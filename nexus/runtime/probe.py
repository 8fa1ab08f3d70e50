"""`/health`, `/ready` and `/metrics` over HTTP, for kubelets, compose and Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from nexus.runtime.errors import ConfigError

# Names what the service waits for; an empty list is "ready".
Readiness = Callable[[], list[str]]


class _Only:
    """One metric family, as what a page is made of."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    registry: CollectorRegistry,
    waiting_for: Readiness,
    *,
    problems: Callable[[], list[str]] = list,
    routes: Iterable[web.RouteDef] = (),
) -> AsyncIterator[None]:
    """Answers while entered. `/health` says that the event loop turns, and `problems` that need a person and no
    restart; `/ready` asks `waiting_for`. `routes` are more of the service's own.

    Raises ConfigError when the port is taken.
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "problems": problems()})

    async def ready(_: web.Request) -> web.Response:
        missing = waiting_for()
        return web.json_response({"ready": not missing, "waiting_for": missing}, status=503 if missing else 200)

    async def metrics(_: web.Request) -> web.Response:
        page = b""
        for family in registry.collect():
            page += generate_latest(_Only(family))
            await asyncio.sleep(0)  # a page of thousands of lines must not hold up the polling
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics), *routes])
    async with site(app, host, port, "NEXUS_HEALTH_PORT"):
        yield


@asynccontextmanager
async def site(app: web.Application, host: str, port: int, setting: str) -> AsyncIterator[None]:
    """Serves `app` while entered; a host like `unix:/run/x.sock` is a socket file.

    Raises ConfigError that names `setting` when the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            path = host.removeprefix("unix:")
            await (web.TCPSite(runner, host, port) if path == host else web.UnixSite(runner, path)).start()
        except OSError as error:
            raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
