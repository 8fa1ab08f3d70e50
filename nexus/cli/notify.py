"""`nexus notify`: notifications of alarms."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.counting import counted
from nexus.process.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from typing import Any

    from psycopg import AsyncConnection

    from console.access.person import Person

group = typer.Typer(
    no_args_is_help=True,
    help="Check, try, show and retry notifications of alarms.\n\n\b\nExamples:\n"
    "  nexus notify check notify.yaml\n  nexus notify test shift --file notify.yaml",
)

Receiver = Annotated[str, typer.Argument(metavar="RECEIVER", help="Its name in the file.")]
File = Annotated[Path | None, typer.Option(metavar="FILE", help="The file, if NEXUS_CONSOLE_NOTIFY does not name it.")]


@group.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of receivers and routes.")],
) -> int:
    """List every mistake in a file of receivers and routes.

    \b
    Examples:
      nexus notify check notify.yaml
    """
    from console.notify.config import load

    found = load(file, _environment())
    print(f"{file} is right: {counted(len(found.receivers), 'receiver')}, {counted(len(found.routes.routes), 'route')}")
    return 0


@group.command("test")
def try_receiver(receiver: Receiver, file: File = None) -> int:
    """Send a test message; print the answer.

    \b
    Examples:
      nexus notify test shift --file notify.yaml
    """
    import asyncio

    from console.notify.channels.outcome import LaterError, PartlyError, RefusedError
    from console.notify.config import load
    from console.notify.trial import send_test
    from console.settings import Settings
    from nexus.process import settings

    own = settings.load(Settings)
    path = file or own.console_notify
    if path is None:
        raise ConfigError("name the file with --file, or in NEXUS_CONSOLE_NOTIFY")
    config = load(path, _environment())
    if receiver not in config.receivers:
        raise ConfigError(f"{path}: there is no receiver {receiver!r}; known: {', '.join(config.receivers)}")
    try:
        answer = asyncio.run(send_test(config, receiver, own.console_url, _environment()))
    except PartlyError as error:
        raise UnavailableError(f"{receiver} has taken it for some recipients only: {error}") from None
    except (LaterError, RefusedError) as error:
        raise UnavailableError(f"{receiver} has not taken it: {error}") from None
    print(f"{receiver} has taken it: {answer}")
    return 0


@group.command("list")
def list_(
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    receiver: Annotated[str | None, typer.Option(help="Only those of this receiver.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many to show.")] = 20,
) -> int:
    """Show the newest, and what was answered.

    \b
    Examples:
      nexus notify list
      nexus notify list --dead --receiver shift
    """
    from console.historian import notifications
    from nexus.cli.console_tables import print_table, run

    asked = {"state": "dead" if dead else None, "receiver": receiver, "topic": None, "digest": None}
    whole = {**asked, "after": 2**63 - 1, "limit": limit}
    found = run(lambda connection, _: notifications.find(connection, whole))
    head = ["id", "created", "receiver", "state", "attempts", "about", "answer"]
    print_table(head, [_row(one) for one in found])
    return 0


@group.command()
def retry(
    number: Annotated[int, typer.Argument(metavar="ID", min=1, help="Its id, as `nexus notify list` shows it.")],
) -> int:
    """Send one again that was given up.

    \b
    Examples:
      nexus notify retry 4711
    """
    from console.access import audit
    from console.historian import notifications
    from nexus.cli.console_tables import run

    async def again(connection: "AsyncConnection", person: "Person") -> bool:
        async with connection.transaction():
            row = await notifications.retry(connection, number)
            if row is not None:
                detail = {"id": number, "receiver": row[1]}
                await audit.add(connection, person, "notification retried", row[0] or None, detail=detail)
        return row is not None

    if not run(again):
        raise ConfigError(f"{number} is not sent again: {notifications.NOT_AGAIN}")
    print(f"{number} is sent again within moments, where a console runs")
    return 0


def _row(one: dict[str, "Any"]) -> list[object]:
    if one["summary"] is not None:
        about = f"digest of {one['summary']['count']}"
    else:
        about = f"{one['event']} {one['topic'].removeprefix('alarm/')}"
    return [one["id"], one["created"], one["receiver"], one["state"], one["attempted"], about, one["answer"][:60]]


def _environment() -> str:
    from nexus.process import settings

    return settings.load(settings.Process).environment
