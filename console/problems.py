"""What went wrong, as problem documents (RFC 9457) that name the remedy."""

from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from console import invalid
from console.access.person import AccessError
from console.database import BusyError
from console.turns import TurnError

TYPE = "application/problem+json"
NARROW = "the database took too long for this: ask for fewer topics, a shorter time, or fewer points"
_SLOW = {"GET": NARROW}

# What programs and the console's pages, in any language, know a problem by.
KINDS = (
    *("no-route", "database-away", "broker-away", "no-gateway", "no-answer"),
    *("wrong-login", "wrong-password", "too-many-logins", "value-changed"),
)

# Of every route, in the API's description.
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document (RFC 9457), whose `detail` names the remedy",
        "content": {
            TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "kind": {"enum": list(KINDS)},
                    },
                    "required": ["type", "title", "status", "detail"],
                }
            }
        },
    }
}


class Problem(Exception):  # noqa: N818  RFC 9457 calls it so
    """An answer that is not what was asked for: a status, what it is, and what to do about it."""

    def __init__(self, status: int, title: str, detail: str, **more: Any) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status, self.title, self.detail, self.more = status, title, detail, more
        self.headers: dict[str, str] = {}

    @property
    def is_outcome_unknown(self) -> bool:
        """Whether what was asked for may have been done."""
        return self.more.get("outcome") == "unknown"


def answer(status: int, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """The problem as a document."""
    said = detail.encode(errors="replace").decode()  # what was sent may hold half a character, and be named here
    content = {"type": "about:blank", "title": title, "status": status, "detail": said, **more}
    return Response(msgspec.json.encode(content), status, headers, TYPE)


def install(app: FastAPI) -> None:
    """Answers every error of a request with such a document."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return answer(error.status, error.title, error.detail, error.headers, **error.more)

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        return answer(422, "The request is not valid", invalid.said(error.errors()))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        said = error.detail if error.detail != title else _unknown(request, (error.headers or {}).get("Allow"))
        more = {"kind": "no-route"} if error.status_code in (404, 405) else {}
        return answer(error.status_code, title, said, dict(error.headers or {}), **more)

    @app.exception_handler(AccessError)
    async def impossible(_: Request, error: AccessError) -> Response:
        return answer(error.status, "Not possible", str(error))

    _install_database(app)


def _unknown(request: Request, allowed: str | None) -> str:
    """What to do about an address that there is not, or one that takes only the methods `allowed`."""
    what = f"no {request.method} of {request.url.path[:200]} here"
    instead = f"send {allowed}" if allowed else "check its spelling"
    return f"{what}: {instead}; /api/v1/docs lists what there is"


def _install_database(app: FastAPI) -> None:
    @app.exception_handler(psycopg.errors.ReadOnlySqlTransaction)
    async def read_only(_: Request, __: Exception) -> Response:
        return answer(503, "The database can only be read", "this is a standby, or its disk is full: try again later")

    @app.exception_handler(psycopg.errors.UndefinedTable)
    async def not_migrated(_: Request, __: Exception) -> Response:
        return answer(503, "The database is not of this version", "run `nexus db migrate`")

    @app.exception_handler(psycopg.errors.InsufficientPrivilege)
    async def no_rights(_: Request, __: Exception) -> Response:
        return answer(503, "The database refuses us", "NEXUS_DATABASE_URL of the console needs the role nexus_console")

    @app.exception_handler(psycopg.errors.QueryCanceled)
    async def too_slow(request: Request, __: Exception) -> Response:
        return answer(503, "The query took too long", _SLOW.get(request.method, "nothing was done: try again later"))

    @app.exception_handler(TurnError)
    async def too_many(_: Request, __: Exception) -> Response:
        said = "others of your queries are still under way: wait for them, or ask for less"
        return answer(429, "Too many queries at once", said, {"Retry-After": "5"})

    @app.exception_handler(BusyError)
    async def busy(_: Request, __: Exception) -> Response:
        said = "queries of others take all connections: try again in some seconds, or raise NEXUS_CONSOLE_CONNECTIONS"
        return answer(503, "The console is busy", said, {"Retry-After": "5"})

    @app.exception_handler(PoolTimeout)
    @app.exception_handler(psycopg.OperationalError)
    async def away(_: Request, __: Exception) -> Response:
        retry, said = {"Retry-After": "5"}, "try again: /ready on the health port says why"
        return answer(503, "The database does not answer", said, retry, kind="database-away")
