"""Logging in by an OpenID provider: there, and back."""

from dataclasses import asdict
from hmac import compare_digest
from time import monotonic, time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse

from console.access import audit, cookies, door
from console.access.door import Anybody
from console.access.oidc import Oidc, RefusedError, Started
from console.access.origin import network
from console.access.person import Person
from console.parts import Parts, PartsDep
from console.problems import Problem

router = APIRouter(prefix="/oidc", tags=["session"])

_COOKIE = "nexus_login"
_PATH = "/api/v1/oidc"
_SECONDS = 600  # that a login at the provider may take

Text = Annotated[str | None, Query(max_length=2000)]


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def log_in(request: Request, parts: PartsDep, visitor: Anybody, to: Text = None) -> RedirectResponse:
    """Go to the provider to log in, and then to the page `to`."""
    oidc = _oidc(parts)
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.headers.get("Sec-Fetch-Dest") != "document":
        raise Problem(403, "Not a page", "a picture or script of another site begins no login: open the console itself")
    try:
        url, started = await oidc.begin()
    except RefusedError as error:
        return await _refused(parts, visitor, error)
    content = {**asdict(started), "to": _page(to)}
    token = (await parts.access.identities.signer()).signed("login", content, time() + _SECONDS)
    answer = RedirectResponse(url, 303)
    # Not strict: it is the provider's page that sends the browser back.
    secure = door.is_secure(request, parts)
    answer.set_cookie(_COOKIE, token, max_age=_SECONDS, path=_PATH, httponly=True, samesite="lax", secure=secure)
    return answer


@router.get("/callback", status_code=303, response_class=RedirectResponse)
async def come_back(
    request: Request, parts: PartsDep, visitor: Anybody, *, state: Text = None, code: Text = None, error: Text = None
) -> RedirectResponse:
    """Where the provider sends the browser back to."""
    oidc = _oidc(parts)
    signer = await parts.access.identities.signer()
    kept = signer.read("login", request.cookies.get(_COOKIE, ""), time())
    try:
        if kept is None or not compare_digest(str(kept["state"]).encode(), (state or "").encode()):
            raise RefusedError("failed", "this login was not begun in this browser, or took too long")
        if code is None:
            raise RefusedError("refused" if error == "access_denied" else "failed", f"the provider says {error!r}")
        address = network(visitor.address)
        if wait := parts.access.limits.wait_oidc(address, monotonic()):
            raise Problem(429, "Too many failed logins", f"try again in {int(wait) + 1} s")
        name, role, claims = await oidc.finish(Started(kept["state"], kept["nonce"], kept["verifier"]), code)
    except RefusedError as refused:
        return await _refused(parts, visitor, refused)
    parts.access.limits.oidc_succeeded(address)
    answer = RedirectResponse(str(kept["to"]), 303)
    person = Person(name, role, visitor.address, "oidc")
    await cookies.begin(request, answer, parts, person, {"sub": claims["sub"], "role": role.name})
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer


def _oidc(parts: Parts) -> Oidc:
    if (oidc := parts.access.oidc) is None:
        raise Problem(404, "No OpenID provider", "log in with a password, or set NEXUS_CONSOLE_OIDC_ISSUER")
    return oidc


def _page(to: str | None) -> str:
    """A page of ours, and of nobody else's."""
    return to if to and to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"


async def _refused(parts: Parts, visitor: Person, error: RefusedError) -> RedirectResponse:
    await audit.refused(parts, visitor, "oidc refused", {"reason": str(error)[:500]})
    answer = RedirectResponse(f"/?login={error.why}", 303)
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer
