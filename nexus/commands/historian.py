"""The database, what was refused, and sizing."""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nexus.commands import configure_log
from nexus.runtime import settings
from nexus.runtime.errors import ConfigError
from nexus.runtime.run import run

if TYPE_CHECKING:
    from db.migrate import Connection
    from db.settings import Settings as DatabaseSettings
    from ingestion.rejects import Which


def migrate(parsed: argparse.Namespace) -> int:
    from db import migrate as schema

    own = _settings()
    with schema.connect(own.database_url, parsed.wait) as connection:
        for name in schema.migrate(connection, own):
            print(f"applied {name}")
        print(f"the schema is up to date (tier: {schema.tier(connection)})")
    return 0


def status(_: argparse.Namespace) -> int:
    from db.status import status

    with _database() as connection:
        rows, newest = status(connection)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return 0 if newest else 1


def refresh(_: argparse.Namespace) -> int:
    from db.refresh import refresh as refreshed

    with _database() as connection:
        for line in refreshed(connection):
            print(line, flush=True)
    return 0


def backup(parsed: argparse.Namespace) -> int:
    from db.backup import backup as dump

    if parsed.keep is not None and (parsed.keep < 1 or (parsed.to.exists() and not parsed.to.is_dir())):
        raise ConfigError(f"--keep needs at least 1, and a folder, which {parsed.to} is not")
    file, size = dump(_settings().database_url, parsed.to, parsed.keep)
    print(f"{file}: {size / 1e6:.1f} MB")
    return 0


def monitor(_: argparse.Namespace) -> int:
    from db.monitor import serve

    configure_log("monitor")
    url = _settings().database_url
    return run(lambda stop: serve(stop, url))


def restore(parsed: argparse.Namespace) -> int:
    from db.backup import restore as load_dump

    load_dump(_settings().database_url, parsed.file)
    print("restored; now run `nexus db migrate`, which sets passwords and what is new since the dump")
    return 0


def _settings() -> "DatabaseSettings":
    from db import settings as db_settings

    return db_settings.load(settings.load(settings.Process).environment)


def _which(parsed: argparse.Namespace) -> "Which":
    from datetime import timedelta

    from ingestion.rejects import Which
    from nexus.runtime.duration import seconds

    try:
        age = timedelta(seconds=seconds(parsed.older_than)) if parsed.older_than else None
    except ValueError as error:
        raise ConfigError(f"--older-than: {error}") from None
    return Which(parsed.topic, parsed.reason, age)


def list_rejects(parsed: argparse.Namespace) -> int:
    from ingestion.rejects import shown

    with _database() as connection:
        print("\n".join(shown(connection, _which(parsed), parsed.limit)) or "no rejects")
    return 0


def retry_rejects(parsed: argparse.Namespace) -> int:
    from ingestion.database import DatabaseAway
    from ingestion.rejects import retry
    from ingestion.settings import Settings

    with _database() as connection:
        try:
            found = asyncio.run(retry(connection, _which(parsed), settings.load(Settings)))
        except DatabaseAway as error:
            raise ConfigError(str(error)) from None
    repeated = f" ({found.repeated} values were there already)" if found.repeated else ""
    cut = f"; {found.cut} of them not kept whole, because they are over a megabyte" if found.cut else ""
    print(f"{found.stored} stored, {found.refused} still refused{cut}{repeated}")
    return 0


def purge_rejects(parsed: argparse.Namespace) -> int:
    from ingestion.rejects import purge

    if not (parsed.all or parsed.topic or parsed.reason or parsed.older_than):
        raise ConfigError("say which: --topic, --reason, --older-than, or --all")
    with _database() as connection:
        print(f"{purge(connection, _which(parsed))} thrown away")
    return 0


@contextmanager
def _database() -> "Iterator[Connection]":
    """The database that the settings name, as an owner."""
    from db.migrate import connect

    with connect(_settings().database_url) as connection:
        yield connection


def load(parsed: argparse.Namespace) -> int:
    from nexus.load import Limits, planned, send

    configure_log("load")
    load = planned(parsed.publish, parsed.devices, parsed.tags, parsed.rate, parsed.path)
    limits = Limits(parsed.seconds, parsed.points, parsed.wait)
    code = run(lambda stop: send(stop, load, limits, parsed.out))
    rate = load.points / load.seconds if load.seconds else 0.0
    print(f"{load.points} points in {load.seconds:.1f} s ({rate:.0f} a second), {load.unconfirmed} not confirmed")
    return code if code or not load.unconfirmed else 1


def verify(parsed: argparse.Namespace) -> int:
    from nexus import verify as verification

    if not parsed.file.is_file():
        raise ConfigError(f"{parsed.file} is not there: it is what `nexus load --out` writes")
    report = verification.verify(parsed.file, _settings().database_url, parsed.wait)
    print(report)
    return 0 if report.good else 1
