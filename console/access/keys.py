"""API keys: for programs. Written `nexus_{id}_{secret}`; of the whole only a hash is kept."""

import re
import secrets
from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import BaseModel

from console.access import audit
from console.access.person import AccessError, Person, Role, RoleName
from console.access.tokens import digest

FORM = re.compile(r"nexus_([0-9a-f]{12})_[0-9a-f]{48}")
LONGEST_NAME = 64
_NAME = re.compile(r"[\w.@+ -]{1,64}")
_MOST = 10_000  # keys, in a list
_LONGEST = timedelta(days=3_660)
_LIST = "SELECT id, name, role, created, created_by, expires, last_used FROM console_keys ORDER BY name LIMIT %s"
_ADD = """
INSERT INTO console_keys (id, name, role, hash, created_by, expires)
VALUES (%s, %s, %s, %s, %s, now() + %s) ON CONFLICT DO NOTHING
"""


class Key(BaseModel):
    """One, without what is secret of it; `last_used` to the minute."""

    id: str
    name: str
    role: RoleName
    created: datetime
    created_by: str
    expires: datetime | None
    last_used: datetime | None


async def listed(connection: AsyncConnection) -> list[Key]:
    """All of them, by name, those that have expired too."""
    async with connection.cursor(row_factory=class_row(Key)) as cursor:
        await cursor.execute(_LIST, (_MOST,))
        return await cursor.fetchall()


async def add(
    connection: AsyncConnection, by: Person, name: str, role: Role, lasts: timedelta | None
) -> tuple[str, str]:
    """Makes a key that expires after `lasts`; gives its id, and the key itself, which nobody can read again.

    Raises AccessError.
    """
    if not _NAME.fullmatch(name):
        raise AccessError(f"a key's name has at most {LONGEST_NAME} letters, digits, spaces and . _ @ + -", 422)
    if lasts is not None and lasts > _LONGEST:
        raise AccessError("a key is good for ten years at most: give a shorter time, or none", 422)
    id_ = secrets.token_hex(6)
    key = f"nexus_{id_}_{secrets.token_hex(24)}"
    async with connection.transaction():
        values = (id_, name, role.name, digest(key), by.name, lasts)
        if (await connection.execute(_ADD, values)).rowcount == 0:
            raise AccessError(f"there is a key {name!r} already: revoke it, or choose another name")
        new = {"id": id_, "name": name, "role": role.name, "days": None if lasts is None else lasts / timedelta(days=1)}
        await audit.add(connection, by, "key added", new=new)
    return id_, key


async def revoke(connection: AsyncConnection, by: Person, which: str) -> None:
    """Revokes the key of this id or name. Raises AccessError."""
    statement = "DELETE FROM console_keys WHERE id = %(which)s OR name = %(which)s RETURNING id, name, role"
    async with connection.transaction():
        found = await (await connection.execute(statement, {"which": which})).fetchone()
        if found is None:
            raise AccessError(f"there is no key {which!r}: see the list of keys", 404)
        await audit.add(connection, by, "key revoked", old=dict(zip(("id", "name", "role"), found, strict=True)))
