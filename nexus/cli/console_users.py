"""`nexus console user`: people who log in with a password."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli.console_tables import RoleOption, print_table, role_named, run
from nexus.process.errors import ConfigError

group = typer.Typer(
    no_args_is_help=True,
    help="People who log in with a password.\n\n\b\nExamples:\n  nexus console user add anna --role engineer",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the password from this file (- is standard input), and do not ask for it."),
]


@group.command("add")
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

    checked, chosen = _name(name), role_named(role)
    if if_none and (there := run(lambda connection, _: people.listed(connection))):
        print(f"nothing to do: there are users already ({', '.join(one.name for one in there[:3])})")
        return 0
    kept = hashed(_password(password_file))
    run(lambda connection, by: people.add(connection, by, checked, chosen, kept))
    print(f"{checked} can log in, as {chosen.name}")
    return 0


@group.command("list")
def list_users() -> int:
    """Show all users.

    \b
    Examples:
      nexus console user list
    """
    from console.access import users as people

    found = run(lambda connection, _: people.listed(connection))
    print_table(["name", "role", "made", "changed"], [(one.name, one.role, one.created, one.changed) for one in found])
    return 0


@group.command("remove")
def remove_user(name: Name) -> int:
    """Remove a user, who is logged out at once.

    \b
    Examples:
      nexus console user remove anna
    """
    from console.access import users as people

    checked = _name(name)
    run(lambda connection, by: people.remove(connection, by, checked))
    print(f"{checked} is removed")
    return 0


@group.command("password")
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
    run(lambda connection, by: people.change(connection, by, checked, kept=kept))
    print(f"{checked} has a new password")
    return 0


@group.command("role")
def change_role(
    name: Name, role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator or engineer.")]
) -> int:
    """Give a user another role; the user is logged out at once.

    \b
    Examples:
      nexus console user role anna operator
    """
    from console.access import users as people

    checked, chosen = _name(name), role_named(role)
    run(lambda connection, by: people.change(connection, by, checked, chosen))
    print(f"{checked} is {chosen.name}")
    return 0


@group.command("logout")
def log_out(name: Annotated[str, typer.Argument(metavar="NAME", help="As the audit has it.")]) -> int:
    """End all sessions of a person.

    \b
    Examples:
      nexus console user logout anna
    """
    from console.access import sessions

    ended = run(lambda connection, by: sessions.end_all(connection, by, name))
    print(f"{ended} sessions of {name} are ended")
    return 0


def _name(text: str) -> str:
    from console.access.person import AccessError
    from console.access.users import name_of

    try:
        return name_of(text)
    except AccessError as error:
        raise ConfigError(str(error)) from None


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
