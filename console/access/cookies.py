"""The cookies of a login: the session, and what marks this browser as one that has logged in before."""

import secrets
from time import time
from typing import Any

from fastapi import Request, Response

from console.access import door, sessions
from console.access.door import COOKIE as SESSION
from console.access.person import Person
from console.parts import Parts

__all__ = ["DEVICE", "SESSION", "begin", "clear"]

DEVICE = "nexus_device"
_DEVICE_SECONDS = 90 * 86_400
_DEVICE_PATH = "/api/v1/session"


async def begin(
    request: Request, response: Response, parts: Parts, person: Person, detail: dict[str, Any] | None = None
) -> str:
    """Begins a session and gives its cookies to the browser; returns the CSRF token. Raises psycopg.Error."""
    signer = await parts.access.identities.signer()
    seconds, now, csrf = parts.settings.console_session, time(), secrets.token_urlsafe(24)
    async with parts.database.brief() as connection:
        id_ = await sessions.begin(connection, person, seconds, detail)
    secure = door.is_secure(request, parts)
    token = signer.signed("session", {"id": id_, "csrf": csrf}, now + seconds)
    response.set_cookie(SESSION, token, max_age=int(seconds), httponly=True, samesite="strict", secure=secure)
    if person.via == "session":
        known = {"name": person.name, "id": secrets.token_urlsafe(12)}
        device = signer.signed("device", known, now + _DEVICE_SECONDS)
        response.set_cookie(
            DEVICE, device, _DEVICE_SECONDS, path=_DEVICE_PATH, httponly=True, samesite="strict", secure=secure
        )
    return csrf


def clear(response: Response) -> None:
    """Takes the session's cookie back; the browser stays known."""
    response.delete_cookie(SESSION, httponly=True, samesite="strict")
