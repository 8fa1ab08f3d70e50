"""The console's web application: its routes, and what holds for all of them."""

from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from console import problems
from console.access import door
from console.api import (
    about,
    alarm_actions,
    alarm_journal,
    alarms,
    annotations,
    audit,
    completeness,
    data,
    devices,
    docs,
    export,
    files,
    history,
    keys,
    last,
    legacy,
    live,
    notifications,
    oidc,
    rejects,
    session,
    tags,
    users,
    write,
)
from console.bodies import Bodies
from console.faults import Faults
from console.headers import Headers
from console.measured import Measured
from console.names import Names
from console.pages import Pages
from console.parts import Parts
from nexus.process.version import program

PREFIX = "/api/v1"
_SMALLEST_ZIPPED = 1_000  # bytes
_ROUTERS: tuple[APIRouter, ...] = (
    about.router,
    docs.router,
    tags.router,
    last.router,
    history.router,
    export.router,
    annotations.router,
    rejects.router,
    *(session.router, users.router, keys.router, audit.router, oidc.router),
    devices.router,
    live.router,
    write.router,
    alarms.router,
    alarm_actions.router,
    alarm_journal.router,
    files.router,
    data.router,
    completeness.router,
    notifications.router,
)


def api(version: str) -> FastAPI:
    """The routes, and nothing that runs: enough for their description."""
    app = FastAPI(title="Nexus Edge", version=version, openapi_url=None, responses=problems.DOCUMENTED)
    for router in _ROUTERS:
        door.describe(router)
        app.include_router(router, prefix=PREFIX)
    door.describe(legacy.router)
    app.include_router(legacy.router)
    return app


def create(parts: Parts, hosts: tuple[str, ...]) -> FastAPI:
    """The application; `hosts` are the names, besides this machine's own and addresses, by which it may be called."""
    app = api(program())
    app.state.parts = parts
    problems.install(app)
    app.mount("/", Pages(), name="pages")
    app.add_middleware(Bodies, is_known=partial(door.is_known, parts))
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_ZIPPED, compresslevel=5)
    app.add_middleware(Faults)
    app.add_middleware(Names, hosts=hosts)
    app.add_middleware(Headers)
    app.add_middleware(Measured, prefix=PREFIX)
    return app
