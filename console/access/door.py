"""Lets in who is known and may do what is asked; every route has one of these in its arguments."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection

from console.access import audit, origin
from console.access.person import Person, Role
from console.access.sessions import Identity
from console.parts import Parts, PartsDep
from console.problems import Problem
from console.turns import asker

COOKIE = "nexus_session"
CSRF = "X-CSRF-Token"
_SAFE = ("GET", "HEAD", "OPTIONS")
_KEY = "Bearer "
_LOGIN = "log in, or send an API key as `Authorization: Bearer …`"


async def _visitor(connection: HTTPConnection, parts: PartsDep) -> Person:
    """Somebody, from a page of ours or from no page. Raises Problem 403."""
    person = Person("", Role.anybody, address_of(connection, parts), "none")
    if _changes(connection) and not _is_own_page(connection, parts):
        await audit.refused(parts, person, "origin refused", {"origin": connection.headers["Origin"][:200]})
        detail = "this request came from a page of another site; behind a proxy see NEXUS_CONSOLE_URL"
        raise Problem(403, "Not our page", detail)
    return person


async def _person(connection: HTTPConnection, parts: PartsDep, visitor: Annotated[Person, Depends(_visitor)]) -> Person:
    """Who asks. Raises Problem 401 and 403."""
    if parts.settings.console_insecure:
        return Person("anonymous", Role.engineer, visitor.address, "insecure")
    given = connection.headers.get("Authorization")
    if given is not None:
        identity = await parts.access.identities.key(_key(given))
        return _known(identity, visitor) or await _refused(parts, visitor, "key")
    if (cookie := connection.cookies.get(COOKIE)) is None:
        raise not_logged_in(parts, _LOGIN)
    if (found := await parts.access.identities.session(cookie)) is None:
        return await _refused(parts, visitor, "session")
    identity, claims = found
    person = _known(identity, visitor)
    assert person is not None
    is_request = connection.scope["type"] == "http"  # a WebSocket has no header of ours: it is known by its Origin
    if is_request and _changes(connection):
        await _check_csrf(connection, parts, person, str(claims["csrf"]))
    return person


def _at_least(role: Role) -> Callable[..., Awaitable[Person]]:
    async def allowed(
        connection: HTTPConnection, parts: PartsDep, person: Annotated[Person, Depends(_person)]
    ) -> Person:
        path = connection.url.path
        if person.role < role:
            await audit.refused(parts, person, "role refused", {"path": path[:200], "needs": role.name})
            said = f"this needs the role {role.name}, and {person.name} is {person.role.name}"
            raise Problem(403, "Not allowed", said)
        if parts.settings.console_read_only and role > Role.viewer and _changes(connection):
            await audit.refused(parts, person, "read-only", {"path": path[:200]})
            raise Problem(403, "Read-only", "this console changes nothing: NEXUS_CONSOLE_READ_ONLY is set")
        asker.set(f"{person.via} {person.name}")
        return person

    return allowed


_DOORS = {_at_least(role): role for role in Role if role}
_BY_ROLE = {role: door for door, role in _DOORS.items()}
_DOORS[_visitor] = Role.anybody

Anybody = Annotated[Person, Depends(_visitor)]
Viewer = Annotated[Person, Depends(_BY_ROLE[Role.viewer])]
Operator = Annotated[Person, Depends(_BY_ROLE[Role.operator])]
Engineer = Annotated[Person, Depends(_BY_ROLE[Role.engineer])]


async def is_known(parts: Parts, connection: HTTPConnection) -> bool:
    """Whether a request carries a login that holds. Raises psycopg.Error and PoolTimeout."""
    if parts.settings.console_insecure:
        return True
    if (given := connection.headers.get("Authorization")) is not None:
        return await parts.access.identities.key(_key(given)) is not None
    cookie = connection.cookies.get(COOKIE)
    return cookie is not None and await parts.access.identities.session(cookie) is not None


async def still(connection: HTTPConnection, parts: Parts, person: Person) -> bool:
    """Whether whoever opened this connection would be let in again, as the same: for a WebSocket, now and then."""
    visitor = Person("", Role.anybody, person.address, "none")
    try:
        return await _person(connection, parts, visitor) == person
    except Problem:
        return False


def describe(router: APIRouter) -> None:
    """Writes the least role of each of these routes into the API's description, as `x-role`; each must have one."""
    for route in router.routes:
        if not isinstance(route, APIRoute | APIWebSocketRoute):
            continue
        roles = [_DOORS[one.call] for one in route.dependant.dependencies if one.call in _DOORS]
        assert len(roles) == 1, f"{route.path} takes {len(roles)} of door.Anybody, Viewer, Operator and Engineer"
        if isinstance(route, APIRoute):
            route.openapi_extra = {**(route.openapi_extra or {}), "x-role": roles[0].name, **_security(roles[0])}


def address_of(connection: HTTPConnection, parts: Parts) -> str:
    """The client's, as far as our proxies tell it."""
    peer = connection.client.host if connection.client else ""
    return origin.client_address(peer, connection.headers.get("X-Forwarded-For", ""), parts.settings.console_proxies)


def is_secure(connection: HTTPConnection, parts: Parts) -> bool:
    """Whether a cookie of ours can be for TLS only."""
    peer = connection.client.host if connection.client else ""
    said = connection.headers.get("X-Forwarded-Proto", "")
    return origin.is_secure(connection.url.scheme, peer, said, parts.settings.console_proxies)


def not_logged_in(parts: Parts, detail: str, **more: str) -> Problem:
    """A Problem 401 that says how one can log in."""
    oidc = parts.access.oidc is not None
    login = ["password", "oidc"] if oidc else ["password"]
    problem = Problem(401, "Not logged in", detail, login=login, oidc=oidc, **more)
    problem.headers["WWW-Authenticate"] = "Bearer"
    return problem


def _is_own_page(connection: HTTPConnection, parts: Parts) -> bool:
    """No page at all, as with a program, is as good: a browser names the page."""
    page, host = connection.headers.get("Origin"), connection.headers.get("Host", "")
    return page is None or origin.is_own_page(
        page, host, parts.settings.console_url, secure=is_secure(connection, parts)
    )


def _key(authorization: str) -> str:
    return authorization.removeprefix(_KEY).strip()


def _changes(connection: HTTPConnection) -> bool:
    return connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE


def _known(identity: Identity | None, visitor: Person) -> Person | None:
    return None if identity is None else Person(identity.name, identity.role, visitor.address, identity.via)


async def _refused(parts: Parts, visitor: Person, what: str) -> Person:
    await audit.refused(parts, visitor, f"{what} refused")
    ended = "this API key is unknown, revoked or expired" if what == "key" else "this session has ended"
    raise not_logged_in(parts, f"{ended}: {_LOGIN}")


async def _check_csrf(connection: HTTPConnection, parts: Parts, person: Person, token: str) -> None:
    given = connection.headers.get(CSRF, "")
    if not compare_digest(given.encode(), token.encode()):
        await audit.refused(parts, person, "csrf refused", {"path": connection.url.path[:200]})
        raise Problem(403, "No CSRF token", f"send the header {CSRF} with the `csrf` that GET session gives")


def _security(role: Role) -> dict[str, Any]:
    return {"security": [{"session": []}, {"key": []}] if role else []}
