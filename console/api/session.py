"""Logging in with a password, and out."""

from time import monotonic, time
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from console.access import audit, cookies, door, passwords, sessions, users
from console.access.door import Anybody, Viewer
from console.access.origin import network
from console.access.person import Person, Role, RoleName
from console.api.users import Name, Password
from console.parts import Parts, PartsDep
from console.problems import Problem

router = APIRouter(tags=["session"])


class Credentials(BaseModel):
    """Who wants to log in."""

    name: Name
    password: Password


class NewPassword(BaseModel):
    """A new password, and the one until now."""

    old: Password
    new: Password


class Session(BaseModel):
    """Who is logged in. `csrf` goes into the header X-CSRF-Token of each request that changes something."""

    name: str
    role: RoleName
    via: str
    read_only: bool
    insecure: bool
    csrf: str | None


@router.post("/session")
async def log_in(
    given: Credentials, request: Request, response: Response, parts: PartsDep, visitor: Anybody
) -> Session:
    """Log in: the answer sets a cookie."""
    name = given.name.strip().lower()
    visitor = Person(name, Role.anybody, visitor.address, "none")
    wrong = door.not_logged_in(parts, "the name or the password is wrong", kind="wrong-login")
    person = await _checked(request, parts, visitor, given.password, wrong)
    csrf = await cookies.begin(request, response, parts, person)
    return _session(parts, person, csrf)


@router.get("/session")
async def who(request: Request, parts: PartsDep, person: Viewer) -> Session:
    """Who is logged in."""
    found = await parts.access.identities.session(request.cookies.get(cookies.SESSION, ""))
    return _session(parts, person, found[1]["csrf"] if found and person.via in ("session", "oidc") else None)


@router.delete("/session", status_code=204)
async def log_out(request: Request, response: Response, parts: PartsDep, person: Viewer) -> None:
    """End the session."""
    if found := await parts.access.identities.session(request.cookies.get(cookies.SESSION, "")):
        async with parts.database.brief() as connection:
            await sessions.end(connection, person, str(found[1]["id"]))
        parts.access.identities.forget()
    cookies.clear(response)


@router.post("/session/password")
async def change_password(
    given: NewPassword, request: Request, response: Response, parts: PartsDep, person: Viewer
) -> Session:
    """Change one's own password; all other sessions of this user end."""
    if person.via != "session":
        raise Problem(409, "No password here", "only who logged in with a name and a password has one to change")
    if said := passwords.fault(given.new):
        raise Problem(422, "Not a good password", said)
    # Not 401: whoever mistypes it is still logged in.
    wrong = Problem(422, "Not your password", "the old password is wrong", kind="wrong-password")
    await _checked(request, parts, person, given.old, wrong)
    kept = await parts.access.passwords.hashed(given.new)
    async with parts.database.brief() as connection:
        await users.change(connection, person, person.name, kept=kept)
    parts.access.identities.forget()
    return _session(parts, person, await cookies.begin(request, response, parts, person))


async def _checked(request: Request, parts: Parts, person: Person, password: str, wrong: Problem) -> Person:
    """Who has this name and password. Raises `wrong` if nobody has, and Problem 429."""
    access, name, now = parts.access, person.name, monotonic()
    signer = await access.identities.signer()
    claims: dict[str, Any] = signer.read("device", request.cookies.get(cookies.DEVICE, ""), time()) or {}
    device = f"{name} {claims['id']}" if claims.get("name") == name else None
    address = network(person.address)
    if wait := access.limits.wait(address, name, device, now):
        await audit.refused(parts, person, "login limited")
        raise _later(wait)
    async with parts.database.brief() as connection:
        found = await users.credentials(connection, name)
    is_right = await access.passwords.matches(password, found and found[0])
    if is_right is None:
        raise _later(1.0)
    if not is_right or found is None:
        await audit.refused(parts, person, "login refused")
        raise wrong
    access.limits.succeeded(address, name, device)
    return Person(name, found[1], person.address, "session")


def _later(seconds: float) -> Problem:
    whole = int(seconds) + 1
    said = f"too many were tried: try again in {whole} s"
    problem = Problem(429, "Too many logins", said, kind="too-many-logins", seconds=whole)
    problem.headers["Retry-After"] = str(whole)
    return problem


def _session(parts: Parts, person: Person, csrf: str | None) -> Session:
    own = parts.settings
    return Session(
        name=person.name,
        role=person.role_name,
        via=person.via,
        read_only=own.console_read_only,
        insecure=own.console_insecure,
        csrf=csrf,
    )
