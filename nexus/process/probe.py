"""`/health`, `/ready` and `/metrics` over HTTP, for kubelets, compose and Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from nexus.process.http import BODY_BYTES, Cached, site
from nexus.process.settings import Process

# Names what the service waits for; an empty list is "ready".
Readiness = Callable[[], list[str]]


@asynccontextmanager
async def serve(
    process: Process,
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

    # In a thread: a page of thousands of lines must not hold up the polling.
    page = Cached(lambda: asyncio.to_thread(generate_latest, registry))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page.body(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application(client_max_size=BODY_BYTES)
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics), *routes])
    async with site(app, process, process.health_host, process.health_port, "NEXUS_HEALTH_PORT"):
        yield
