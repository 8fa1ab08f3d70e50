"""`nexus rejects`: what could not be stored."""

from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.database import connected
from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from ingestion.store.rejects import Which

group = typer.Typer(
    no_args_is_help=True,
    help="Show, retry or delete what could not be stored.\n\n\b\nExamples:\n"
    "  nexus rejects list\n  nexus rejects retry --reason decoder",
)

Topic = Annotated[str | None, typer.Option(help="Only topics like this; * matches anything.")]
Reason = Annotated[str | None, typer.Option(help="Only reasons that contain this text.")]
OlderThan = Annotated[str | None, typer.Option(metavar="AGE", help="Only rejects older than this: 12h, 30d.")]


@group.command("list")
def list_(
    topic: Topic = None,
    reason: Reason = None,
    older_than: OlderThan = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 20,
) -> int:
    """Show the newest rejects, and how many there are for each reason.

    \b
    Examples:
      nexus rejects list
      nexus rejects list --topic 'dev/plant/line1/*' --limit 100
    """
    from ingestion.store.rejects import shown

    with connected() as connection:
        print("\n".join(shown(connection, _which(topic, reason, older_than), limit)) or "no rejects")
    return 0


@group.command()
def retry(topic: Topic = None, reason: Reason = None, older_than: OlderThan = None) -> int:
    """Decode and store them again, after a fix.

    \b
    Examples:
      nexus rejects retry
      nexus rejects retry --topic 'tele/*'
    """
    import asyncio

    from ingestion.settings import Settings
    from ingestion.store.database import DatabaseAwayError
    from ingestion.store.rejects import retry
    from nexus.process import settings

    which = _which(topic, reason, older_than)
    with connected() as connection:
        try:
            found = asyncio.run(retry(connection, which, settings.load(Settings)))
        except DatabaseAwayError as error:
            raise ConfigError(str(error)) from None
    repeated = f" ({found.repeated} values were there already)" if found.repeated else ""
    cut = f"; {found.cut} of them not kept whole, because they are over a megabyte" if found.cut else ""
    print(f"{found.stored} stored, {found.refused} still refused{cut}{repeated}")
    return 0


@group.command()
def purge(
    topic: Topic = None,
    reason: Reason = None,
    older_than: OlderThan = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all of them.")] = False,
) -> int:
    """Delete rejects.

    \b
    Examples:
      nexus rejects purge --older-than 30d
      nexus rejects purge --all
    """
    from ingestion.store.rejects import purge

    if not (everything or topic or reason or older_than):
        raise ConfigError("choose which: --topic, --reason, --older-than or --all")
    which = _which(topic, reason, older_than)
    with connected() as connection:
        print(f"{purge(connection, which)} deleted")
    return 0


def _which(topic: str | None, reason: str | None, older_than: str | None) -> "Which":
    from datetime import timedelta

    from ingestion.store.rejects import Which
    from nexus.process.duration import seconds

    try:
        age = timedelta(seconds=seconds(older_than)) if older_than else None
    except ValueError as error:
        raise ConfigError(f"--older-than: {error}") from None
    for name, text in (("--topic", topic), ("--reason", reason)):
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{name}: write it in UTF-8") from None
    return Which(topic, reason, age)
