"""`nexus console user` and `nexus console key`: who may use the console."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from console.access.person import Person, Role

T = TypeVar("T")

users = typer.Typer(
    no_args_is_help=True,
    help="People who log in with a password.\n\n\b\nExamples:\n  nexus console user add anna --role engineer",
)
keys = typer.Typer(
    no_args_is_help=True,
    help="API keys, for programs.\n\n\b\nExamples:\n  nexus console key add mes --role viewer --expires 90d",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, operator or engineer.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the password from this file (- is standard input), and do not ask for it."),
]


@users.command("add")
def add_user(
    name: Name,
    role: RoleOption,
    password_file: PasswordFile = None,
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing if there is a user already.")] = False,
) -> int:
    """Make a user.

    \b
    Examples:
      nexus console user add anna --role engineer
      nexus console user add admin --role engineer --password-file /run/secrets/password --if-none
    """
    from console.access import users as people
    from console.access.passwords import hashed

    checked, chosen = _name(name), _role(role)
    if if_none and (there := _run(lambda connection, _: people.listed(connection))):
        print(f"nothing to do: there are users already ({', '.join(one.name for one in there[:3])})")
        return 0
    kept = hashed(_password(password_file))
    _run(lambda connection, by: people.add(connection, by, checked, chosen, kept))
    print(f"{checked} can log in, as {chosen.name}")
    return 0


@users.command("list")
def list_users() -> int:
    """Show all users.

    \b
    Examples:
      nexus console user list
    """
    from console.access import users as people

    found = _run(lambda connection, _: people.listed(connection))
    _print(["name", "role", "made", "changed"], [(one.name, one.role, one.created, one.changed) for one in found])
    return 0


@users.command("remove")
def remove_user(name: Name) -> int:
    """Remove a user, who is logged out at once.

    \b
    Examples:
      nexus console user remove anna
    """
    from console.access import users as people

    checked = _name(name)
    _run(lambda connection, by: people.remove(connection, by, checked))
    print(f"{checked} is removed")
    return 0


@users.command("password")
def change_password(name: Name, password_file: PasswordFile = None) -> int:
    """Give a user another password; the user is logged out at once.

    \b
    Examples:
      nexus console user password anna
    """
    from console.access import users as people
    from console.access.passwords import hashed

    checked = _name(name)
    kept = hashed(_password(password_file))
    _run(lambda connection, by: people.change(connection, by, checked, kept=kept))
    print(f"{checked} has a new password")
    return 0


@users.command("role")
def change_role(
    name: Name, role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator or engineer.")]
) -> int:
    """Give a user another role; the user is logged out at once.

    \b
    Examples:
      nexus console user role anna operator
    """
    from console.access import users as people

    checked, chosen = _name(name), _role(role)
    _run(lambda connection, by: people.change(connection, by, checked, chosen))
    print(f"{checked} is {chosen.name}")
    return 0


@users.command("logout")
def log_out(name: Annotated[str, typer.Argument(metavar="NAME", help="As the audit has it.")]) -> int:
    """End all sessions of a person.

    \b
    Examples:
      nexus console user logout anna
    """
    from console.access import sessions

    ended = _run(lambda connection, by: sessions.end_all(connection, by, name))
    print(f"{ended} sessions of {name} are ended")
    return 0


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: RoleOption,
    expires: Annotated[str | None, typer.Option(metavar="AGE", help="Good for so long: 12h, 90d.")] = None,
) -> int:
    """Make a key, and print it; nobody can see it again.

    \b
    Examples:
      nexus console key add mes --role viewer --expires 90d
      nexus console key add scada --role operator > key
    """
    from console.access import keys as programs

    chosen, lasts = _role(role), _age(expires)
    id_, key = _run(lambda connection, by: programs.add(connection, by, name, chosen, lasts))
    print(key)
    print(f"the key {name!r} ({id_}) is sent as `Authorization: Bearer …`", file=sys.stderr)
    return 0


@keys.command("list")
def list_keys() -> int:
    """Show all keys, without what is secret of them.

    \b
    Examples:
      nexus console key list
    """
    from console.access import keys as programs

    found = _run(lambda connection, _: programs.listed(connection))
    rows = [
        (one.id, one.name, one.role, one.created_by, one.expires or "never", one.last_used or "never") for one in found
    ]
    _print(["id", "name", "role", "made by", "expires", "last used"], rows)
    return 0


@keys.command("revoke")
def revoke_key(which: Annotated[str, typer.Argument(metavar="NAME", help="The key's name, or its id.")]) -> int:
    """Revoke a key, at once.

    \b
    Examples:
      nexus console key revoke mes
    """
    from console.access import keys as programs

    _run(lambda connection, by: programs.revoke(connection, by, which))
    print(f"the key {which!r} is revoked")
    return 0


def _role(text: str) -> "Role":
    from console.access.person import Role

    if text not in (names := [role.name for role in Role if role]):
        raise ConfigError(f"--role: {text!r} must be one of {', '.join(names)}")
    return Role[text]


def _name(text: str) -> str:
    from console.access.person import AccessError
    from console.access.users import name_of

    try:
        return name_of(text)
    except AccessError as error:
        raise ConfigError(str(error)) from None


def _age(text: str | None) -> timedelta | None:
    from nexus.process.duration import seconds

    try:
        return None if text is None else timedelta(seconds=seconds(text))
    except ValueError as error:
        raise ConfigError(f"--expires: {error}") from None


def _password(file: Path | None) -> str:
    """From the file, or asked for twice. Raises ConfigError."""
    from console.access.passwords import fault
    from nexus.process import settings

    if file is None:
        if not sys.stdin.isatty():
            raise ConfigError("there is no terminal to ask for a password: give it with --password-file")
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--password-file: cannot read {file}: {error}") from None
        password = text.removesuffix("\n").removesuffix("\r")
    settings.refuse_placeholder("the password", password, settings.load(settings.Process).environment)
    if said := fault(password):
        raise ConfigError(said)
    return password


def _run(work: "Callable[[AsyncConnection, Person], Awaitable[T]]") -> T:
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


def _print(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    texts = [head, *([_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _text(cell: object) -> str:
    return f"{cell.astimezone():%Y-%m-%d %H:%M}" if isinstance(cell, datetime) else str(cell)
