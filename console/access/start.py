"""Before the first request: somebody has to be able to log in, or everybody may."""

import asyncio

import psycopg
from psycopg_pool import PoolTimeout

from console.access.access import Access
from console.database import Database, reason
from nexus.process import log
from nexus.process.errors import ConfigError

_AGAIN_SECONDS = 2.0
_KNOWN = "SELECT EXISTS (SELECT FROM console_users) OR EXISTS (SELECT FROM console_keys)"


async def check(database: Database, access: Access) -> None:
    """Returns once somebody can log in; waits for a database that is away, or not migrated.

    Raises ConfigError when nobody is known.
    """
    if access.oidc is not None:
        return
    said = ""
    while True:
        try:
            async with database.brief() as connection:
                found = await (await connection.execute(_KNOWN)).fetchone()
            break
        except (PoolTimeout, psycopg.Error) as error:
            if (why := _why(error)) != said:
                log.get("access").warning("waiting for the database", reason=why)
            said = why
        await asyncio.sleep(_AGAIN_SECONDS)
    if found != (True,):
        raise ConfigError(
            "nobody can log in: make the first user with `nexus console user add NAME --role engineer`"
            " (or, on this machine alone, let everybody in with NEXUS_CONSOLE_INSECURE=1)"
        )


def _why(error: Exception) -> str:
    if isinstance(error, psycopg.errors.UndefinedTable):
        return "it is not migrated to this version: run `nexus db migrate`"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{str(error).strip()}: NEXUS_DATABASE_URL needs the role nexus_console"
    return reason(error)
