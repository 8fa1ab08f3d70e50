"""`nexus db`: the historian's schema, and its care."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.running import configure_log
from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from db.migrate import Connection
    from db.settings import Settings

group = typer.Typer(
    no_args_is_help=True,
    help="Migrate, inspect, monitor and back up the database.\n\n\b\nExamples:\n  nexus db migrate\n  nexus db status",
)


@group.command()
def migrate(
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Wait this long for the database to start.")] = 0,
) -> int:
    """Bring schema, policies and roles up to date.

    \b
    Examples:
      NEXUS_DATABASE_URL=postgresql://postgres:secret@db/nexus nexus db migrate
      nexus db migrate --wait 60
    """
    from db import migrate as schema

    own = database_settings()
    with schema.connect(own.database_url, wait) as connection:
        for name in schema.migrate(connection, own):
            print(f"applied {name}")
        print(f"the schema is up to date (tier: {schema.tier(connection)})")
    return 0


@group.command()
def status() -> int:
    """Show the database's tier, migrations, sizes and jobs.

    \b
    Examples:
      nexus db status
    """
    from db.status import status
    from nexus.process.version import program

    with connected() as connection:
        rows, newest = status(connection)
    rows = [("program", program()), *rows]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return 0 if newest else 1


@group.command()
def monitor() -> int:
    """Serve the database's metrics to Prometheus.

    \b
    Examples:
      NEXUS_HEALTH_PORT=8083 nexus db monitor
    """
    from db.monitor import serve
    from nexus.process.run import run

    configure_log("monitor")
    url = database_settings().database_url
    return run(lambda stop: serve(stop, url))


@group.command()
def refresh() -> int:
    """Add loaded history to the rollups and the list of topics.

    \b
    Examples:
      nexus db refresh
    """
    from db.refresh import refresh as refreshed

    with connected() as connection:
        for line in refreshed(connection):
            print(line, flush=True)
    return 0


@group.command()
def backup(
    to: Annotated[Path, typer.Argument(metavar="TO", help="File, or a folder for one file per dump.")],
    keep: Annotated[int | None, typer.Option(metavar="N", help="In a folder: keep the newest N dumps.")] = None,
) -> int:
    """Dump the database, without stopping anything.

    \b
    Examples:
      nexus db backup nexus.dump
      nexus db backup /backups --keep 7
    """
    from db.backup import backup as dump

    if keep is not None and (keep < 1 or (to.exists() and not to.is_dir())):
        raise ConfigError(f"--keep needs at least 1, and a folder, which {to} is not")
    file, size = dump(database_settings().database_url, to, keep)
    print(f"{file}: {size / 1e6:.1f} MB")
    return 0


@group.command()
def restore(file: Annotated[Path, typer.Argument(metavar="FILE", help="Dump from `nexus db backup`.")]) -> int:
    """Load a dump into an empty database.

    \b
    Examples:
      nexus db restore nexus.dump
    """
    from db.backup import restore as load_dump

    load_dump(database_settings().database_url, file)
    print("restored; now run `nexus db migrate`, which sets passwords and applies newer migrations")
    return 0


def database_settings() -> "Settings":
    """Where the database is, and how it is set up. Raises ConfigError."""
    from db import settings as db_settings
    from nexus.process import settings

    return db_settings.load(settings.load(settings.Process).environment)


@contextmanager
def connected() -> "Iterator[Connection]":
    """The database that the settings name, as an owner."""
    from db.migrate import connect

    with connect(database_settings().database_url) as connection:
        yield connection
