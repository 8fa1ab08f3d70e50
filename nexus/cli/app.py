"""The `nexus` command as a whole: what it offers, in the README's order, and its exit codes."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from nexus.cli import alarms, console, database, devices, files, notify, rejects, rules, services, sizing
from nexus.process import extras
from nexus.process.errors import ConfigError, UnavailableError

Command = Callable[..., int]

# In the README's order: try it, poll a PLC, store what it says, see what a site takes, operate.
COMMANDS: tuple[tuple[str, Command | typer.Typer], ...] = (
    ("demo", services.demo),
    ("check", files.check),
    ("read", devices.read),
    ("gateway", services.gateway),
    ("probe", devices.probe),
    ("browse", devices.browse),
    ("write", devices.write),
    ("import", files.import_),
    ("export", files.export),
    ("schema", files.schema),
    ("plan", devices.plan),
    ("opcua", devices.opcua),
    ("simulate", services.simulate),
    ("db", database.group),
    ("ingest", services.ingest),
    ("rejects", rejects.group),
    ("alarms", alarms.group),
    ("rules", rules.group),
    ("notify", notify.group),
    ("console", console.group),
    ("load", sizing.load),
    ("verify", sizing.verify),
    ("health", services.health),
    ("secrets", services.secrets),
)


TAKE_NEGATIVES = frozenset({"write"})  # -5 is a value there, and no option
_INTERRUPTED = 130  # Typer's, after Ctrl-C


class _InOrder(TyperGroup):
    """Lists its commands as COMMANDS does; Typer puts groups last."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002  as it is called
        return [name for name, _ in COMMANDS]


def _end(code: int, **_: object) -> None:
    """What a command returns is its exit code."""
    raise typer.Exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from nexus.process.version import program

        print(program())
        raise typer.Exit


app = typer.Typer(
    name="nexus",
    cls=_InOrder,
    no_args_is_help=True,
    result_callback=_end,
    rich_markup_mode=None,  # plain text, which costs no start-up time and looks the same in a log
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
for _name, _command in COMMANDS:
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name, context_settings={"ignore_unknown_options": _name in TAKE_NEGATIVES})(_command)


@app.callback()
def _nexus(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Poll PLCs, publish their readings over MQTT, and store them in TimescaleDB, losing nothing.

    \b
    Examples:
      nexus demo --seconds 20
      nexus check plant.yaml
      nexus COMMAND --help
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 2 bad usage or configuration, 1 anything else."""
    try:
        app(args=arguments, prog_name="nexus")
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (said := extras.missing(error)) is None:
            raise
        print(f"this {said}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        sys.exit(1 if end.code == _INTERRUPTED else end.code)
