"""Sessions: who is logged in, until when, and by which right; one row each."""

import secrets
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from console.access import audit
from console.access.person import Person, Role
from console.access.tokens import digest

_ADD = """
INSERT INTO console_sessions (id, name, account, role, expires)
VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s))
"""
_FIND = """
SELECT s.name, coalesce(u.role, s.role), s.account IS NULL
FROM console_sessions AS s LEFT JOIN console_users AS u ON u.name = s.account
WHERE s.id = %s AND s.expires > now()
"""


@dataclass(frozen=True)
class Identity:
    """Who a session or a key belongs to."""

    name: str
    role: Role
    via: str


async def begin(connection: AsyncConnection, person: Person, seconds: float, detail: dict[str, Any] | None) -> str:
    """A new session; gives its id, a secret. Sessions that have expired are removed meanwhile."""
    id_ = secrets.token_urlsafe(24)
    is_ours = person.via != "oidc"
    account, role = (person.name, None) if is_ours else (None, person.role.name)
    async with connection.transaction():
        await connection.execute("DELETE FROM console_sessions WHERE expires < now()")
        await connection.execute(_ADD, (digest(id_), person.name, account, role, seconds))
        await audit.add(connection, person, "login", detail=detail)
    return id_


async def end(connection: AsyncConnection, person: Person, id_: str) -> None:
    """Ends a session."""
    async with connection.transaction():
        await connection.execute("DELETE FROM console_sessions WHERE id = %s", (digest(id_),))
        await audit.add(connection, person, "logout")


async def end_all(connection: AsyncConnection, by: Person, name: str) -> int:
    """Ends all sessions of a person; gives how many there were."""
    async with connection.transaction():
        ended = (await connection.execute("DELETE FROM console_sessions WHERE name = %s", (name,))).rowcount
        await audit.add(connection, by, "sessions ended", old={"name": name, "sessions": ended})
    return ended


async def find(connection: AsyncConnection, id_: str) -> Identity | None:
    """Whose session this is; None once it has ended."""
    found = await (await connection.execute(_FIND, (digest(id_),))).fetchone()
    if found is None:
        return None
    name, role, is_foreign = found
    return Identity(name, Role[role], "oidc" if is_foreign else "session")
