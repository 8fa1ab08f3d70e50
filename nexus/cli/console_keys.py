"""`nexus console key`: API keys, for programs."""

import sys
from datetime import timedelta
from typing import Annotated

import typer

from nexus.cli.console_tables import RoleOption, print_table, role_named, run
from nexus.process.errors import ConfigError

group = typer.Typer(
    no_args_is_help=True,
    help="API keys, for programs.\n\n\b\nExamples:\n  nexus console key add mes --role viewer --expires 90d",
)


@group.command("add")
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

    chosen, lasts = role_named(role), _age(expires)
    id_, key = run(lambda connection, by: programs.add(connection, by, name, chosen, lasts))
    print(key)
    print(f"the key {name!r} ({id_}) is sent as `Authorization: Bearer …`", file=sys.stderr)
    return 0


@group.command("list")
def list_keys() -> int:
    """Show all keys, without what is secret of them.

    \b
    Examples:
      nexus console key list
    """
    from console.access import keys as programs

    found = run(lambda connection, _: programs.listed(connection))
    rows = [
        (one.id, one.name, one.role, one.created_by, one.expires or "never", one.last_used or "never") for one in found
    ]
    print_table(["id", "name", "role", "made by", "expires", "last used"], rows)
    return 0


@group.command("revoke")
def revoke_key(which: Annotated[str, typer.Argument(metavar="NAME", help="The key's name, or its id.")]) -> int:
    """Revoke a key, at once.

    \b
    Examples:
      nexus console key revoke mes
    """
    from console.access import keys as programs

    run(lambda connection, by: programs.revoke(connection, by, which))
    print(f"the key {which!r} is revoked")
    return 0


def _age(text: str | None) -> timedelta | None:
    from nexus.process.duration import seconds

    try:
        return None if text is None else timedelta(seconds=seconds(text))
    except ValueError as error:
        raise ConfigError(f"--expires: {error}") from None
