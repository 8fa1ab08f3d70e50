"""People with a password of the console's own."""

import re
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import BaseModel

from console.access import audit
from console.access.person import AccessError, Person, Role, RoleName

LONGEST_NAME = 64
_NAME = re.compile(r"[\w.@+-]{1,64}")
_MOST = 10_000  # users, in a list
_COLUMNS: LiteralString = "SELECT name, role, created, changed FROM console_users"
# Whoever else may manage users.
_ANOTHER_ENGINEER = "SELECT 1 FROM console_users WHERE role = 'engineer' AND name <> %s LIMIT 1"


class User(BaseModel):
    """One, without the password."""

    name: str
    role: RoleName
    created: datetime
    changed: datetime


def name_of(text: str) -> str:
    """A name as it is kept: in small letters. Raises AccessError."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise AccessError(f"a name has at most {LONGEST_NAME} letters, digits and . _ @ + -, and no space", 422)
    return name


async def listed(connection: AsyncConnection) -> list[User]:
    """All of them, by name."""
    async with connection.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(f"{_COLUMNS} ORDER BY name LIMIT %s", (_MOST,))
        return await cursor.fetchall()


async def one(connection: AsyncConnection, name: str) -> User:
    """The user of this name. Raises AccessError."""
    async with connection.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(f"{_COLUMNS} WHERE name = %s", (name,))
        if (found := await cursor.fetchone()) is None:
            raise _unknown(name)
        return found


async def credentials(connection: AsyncConnection, name: str) -> tuple[str, Role] | None:
    """What is kept of a user's password, and the role; None if there is no such user."""
    statement = "SELECT password, role FROM console_users WHERE name = %s"
    known = name if _NAME.fullmatch(name) else ""
    found = await (await connection.execute(statement, (known,))).fetchone()
    return None if found is None else (str(found[0]), Role[found[1]])


async def add(connection: AsyncConnection, by: Person, name: str, role: Role, kept: str) -> None:
    """Makes a user; `kept` is what `passwords.hashed` gave. Raises AccessError."""
    statement = "INSERT INTO console_users (name, role, password) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    async with connection.transaction():
        if (await connection.execute(statement, (name, role.name, kept))).rowcount == 0:
            raise AccessError(
                f"there is a user {name!r} already: change the password or the role, or choose another name"
            )
        await audit.add(connection, by, "user added", new={"name": name, "role": role.name})


async def change(
    connection: AsyncConnection, by: Person, name: str, role: Role | None = None, kept: str | None = None
) -> None:
    """Gives a user another role, another password, or both, and ends the user's sessions. Raises AccessError."""
    statement = (
        "UPDATE console_users SET role = coalesce(%s, role), password = coalesce(%s, password), changed = now()"
        " WHERE name = %s"
    )
    async with connection.transaction():
        old = await _role_of(connection, name)
        if role is not None and role < Role.engineer:
            await _check_not_last(connection, by, name, old)
        new = old if role is None else role.name
        await connection.execute(statement, (new, kept, name))
        await connection.execute("DELETE FROM console_sessions WHERE account = %s", (name,))
        detail: dict[str, Any] = {"user": name, "password": "changed" if kept else "kept"}
        await audit.add(connection, by, "user changed", old={"role": old}, new={"role": new}, detail=detail)


async def remove(connection: AsyncConnection, by: Person, name: str) -> None:
    """Removes a user, and with it the user's sessions. Raises AccessError."""
    async with connection.transaction():
        role = await _role_of(connection, name)
        await _check_not_last(connection, by, name, role)
        await connection.execute("DELETE FROM console_users WHERE name = %s", (name,))
        await audit.add(connection, by, "user removed", old={"name": name, "role": role})


async def _role_of(connection: AsyncConnection, name: str) -> str:
    statement = "SELECT role FROM console_users WHERE name = %s FOR UPDATE"
    if (found := await (await connection.execute(statement, (name,))).fetchone()) is None:
        raise _unknown(name)
    return str(found[0])


def _unknown(name: str) -> AccessError:
    return AccessError(f"there is no user {name!r}: see the list of users", 404)


async def _check_not_last(connection: AsyncConnection, by: Person, name: str, role: str) -> None:
    """Who has a terminal of the console's can make another engineer; the pages cannot."""
    if role != Role.engineer.name or by.via == "command":
        return
    if await (await connection.execute(_ANOTHER_ENGINEER, (name,))).fetchone() is None:
        raise AccessError(f"{name} is the last engineer, and nobody could manage users: make another one first")
