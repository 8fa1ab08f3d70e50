"""How commands work on the console's users and keys: in its database, as whoever has this terminal."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from console.access.person import Person, Role

T = TypeVar("T")

RoleOption = Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, operator or engineer.")]


def role_named(text: str) -> "Role":
    """The role of this name. Raises ConfigError."""
    from console.access.person import Role

    if text not in (names := [role.name for role in Role if role]):
        raise ConfigError(f"--role: {text!r} must be one of {', '.join(names)}")
    return Role[text]


def run(work: "Callable[[AsyncConnection, Person], Awaitable[T]]") -> T:
    """Does it in the console's database, as whoever runs this command. Raises ConfigError and UnavailableError."""
    import asyncio

    import psycopg

    from console.access.person import AccessError
    from db.migrate import unconnected
    from nexus.cli.database import database_settings

    async def connected() -> T:
        try:
            connection = await psycopg.AsyncConnection.connect(
                database_settings().database_url, autocommit=True, connect_timeout=5, client_encoding="utf8"
            )
        except psycopg.OperationalError as error:
            raise unconnected(error) from None
        async with connection:
            return await work(connection, _who())

    try:
        return asyncio.run(connected())
    except AccessError as error:
        raise ConfigError(str(error)) from None
    except psycopg.errors.UndefinedTable:
        raise ConfigError("NEXUS_DATABASE_URL: not migrated to this version: run `nexus db migrate`") from None
    except psycopg.errors.InsufficientPrivilege as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"NEXUS_DATABASE_URL: {said}: this needs the role nexus_console, or the owner") from None


def _who() -> "Person":
    """For the audit: whoever has this terminal."""
    import getpass
    import os

    from console.access.person import Person, Role

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container
        name = f"uid {os.getuid()}"
    return Person(name, Role.engineer, "", "command")


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows in columns, times as this machine's."""
    texts = [head, *([_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _text(cell: object) -> str:
    return f"{cell.astimezone():%Y-%m-%d %H:%M}" if isinstance(cell, datetime) else str(cell)
