"""Knows whose a session's cookie or an API key is: asks the database, and remembers its answers for two seconds."""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hmac import compare_digest
from time import monotonic, time
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from console.access import sessions, tokens
from console.access.keys import FORM
from console.access.person import Role
from console.access.sessions import Identity
from console.access.tokens import Signer
from console.database import Database

REMEMBERED_SECONDS = 2.0  # so long a change takes to reach another replica
AWAY_SECONDS = 3600.0  # while the database is away who was known stays known: changes need the database anyway
_MOST = 10_000  # sessions and keys that are remembered
_FIND_KEY = """
SELECT name, role, hash, coalesce(last_used < now() - interval '1 minute', true) FROM console_keys
WHERE id = %s AND coalesce(expires > now(), true)
"""
_USED = "UPDATE console_keys SET last_used = now() WHERE id = %s"

Find = Callable[[AsyncConnection], Awaitable[Identity | None]]


class Identities:
    """Sessions and keys that came with requests, and whose they are."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signer: Signer | None = None
        self._known: OrderedDict[bytes, tuple[Identity | None, float]] = OrderedDict()
        self._away_until = 0.0

    async def signer(self) -> Signer:
        """Signs with the secret that all replicas share. Raises psycopg.Error and PoolTimeout."""
        if self._signer is None:
            async with self._database.brief() as connection:
                secret = await tokens.load_secret(connection, secrets.token_bytes(tokens.SECRET_BYTES))
            self._signer = Signer(secret)
        return self._signer

    async def session(self, token: str) -> tuple[Identity, dict[str, Any]] | None:
        """Whose session a cookie is, and its claims. Raises psycopg.Error and PoolTimeout."""
        claims = (await self.signer()).read("session", token, time())
        if claims is None:
            return None
        id_ = str(claims["id"])
        identity = await self._find(tokens.digest(id_), lambda connection: sessions.find(connection, id_))
        return None if identity is None else (identity, claims)

    async def key(self, key: str) -> Identity | None:
        """Whose API key this is. Raises psycopg.Error and PoolTimeout."""
        if (match := FORM.fullmatch(key)) is None:
            return None
        hashed = tokens.digest(key)
        return await self._find(hashed, lambda connection: _find_key(connection, match[1], hashed))

    def forget(self) -> None:
        """Asks again for everybody: something has changed."""
        self._known.clear()

    async def _find(self, hashed: bytes, find: Find) -> Identity | None:
        now = monotonic()
        identity, asked = self._known.get(hashed, (None, float("-inf")))
        if now - asked < REMEMBERED_SECONDS:
            return identity
        may_go_on = identity is not None and now - asked < AWAY_SECONDS
        if may_go_on and (now < self._away_until or self._database.reason is not None):
            return identity
        try:
            async with self._database.brief() as connection:
                identity = await find(connection)
        except (PoolTimeout, psycopg.OperationalError):
            if not may_go_on:
                raise
            self._away_until = monotonic() + REMEMBERED_SECONDS
            return identity
        self._known[hashed] = (identity, now)
        self._known.move_to_end(hashed)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return identity


async def _find_key(connection: AsyncConnection, id_: str, hashed: bytes) -> Identity | None:
    found = await (await connection.execute(_FIND_KEY, (id_,))).fetchone()
    if found is None or not compare_digest(bytes(found[2]), hashed):
        return None
    if found[3]:
        with suppress(psycopg.Error):  # a database that can only be read
            await connection.execute(_USED, (id_,))
    return Identity(found[0], Role[found[1]], "key")
