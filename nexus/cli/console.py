"""`nexus console`: serve the pages and the API."""

import typer

from nexus.cli import console_keys, console_users
from nexus.cli.running import configure_log

group = typer.Typer(no_args_is_help=False)
group.add_typer(console_users.group, name="user")
group.add_typer(console_keys.group, name="key")


@group.callback(invoke_without_command=True)
def console(context: typer.Context) -> int | None:
    """Serve the plant's pages and the historian's API.

    \b
    Examples:
      NEXUS_CONSOLE_INSECURE=1 nexus console
      NEXUS_CONSOLE_PORT=8091 nexus console
    """
    if context.invoked_subcommand is not None:
        return None
    from console.service import serve
    from nexus.process.run import run

    configure_log("console")
    raise typer.Exit(run(serve))
