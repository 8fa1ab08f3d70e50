"""Migrates a database to the newest schema: numbered SQL files, each applied once, for the database's tier."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db import days, kept, rights
from db.exclusive import exclusively
from db.settings import Settings
from nexus.process.errors import ConfigError, UnavailableError

_FILE = re.compile(r"(\d{3}_\w+)(?:\.(\w+))?\.sql")


class Tier(StrEnum):
    """What the database can do."""

    COMMUNITY = "community"  # TimescaleDB under its own licence: all features
    APACHE = "apache"  # TimescaleDB's Apache-licensed part: hypertables only
    PLAIN = "plain"  # PostgreSQL


# For roles that only read, unless set otherwise: settings, and their share of all connections.
_LIMITS = {
    "statement_timeout": "1h",
    "idle_in_transaction_session_timeout": "10min",  # an open one blocks compression and retention
    "temp_file_limit": "4GB",  # only a superuser can set and lift it
}

_SHARES = {"nexus_reader": 2, "nexus_console": 4}

LICENSE = "SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'"

# Which file of a migration a tier uses: the first of these endings that exists.
_ENDINGS = {
    Tier.COMMUNITY: ("community", "hypertable", None),
    Tier.APACHE: ("hypertable", None),
    Tier.PLAIN: (None,),
}

Connection = psycopg.Connection[tuple[object, ...]]


@contextmanager
def connect(url: str, wait: float = 0.0) -> Iterator[Connection]:
    """A connection that commits each statement.

    Raises UnavailableError when there is none to be had for `wait` seconds, ConfigError where waiting cannot help, and
    for what its role may not do.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(psycopg.OperationalError),
        stop=stop_after_delay(wait),
        wait=wait_fixed(1),
        reraise=True,
    )
    try:
        connection = attempts(
            psycopg.connect,
            url,
            autocommit=True,
            connect_timeout=5,
            application_name="nexus db",
            client_encoding="utf8",  # otherwise texts of a database in SQL_ASCII come as bytes
        )
    except psycopg.OperationalError as error:
        raise unconnected(error) from None
    with connection:
        try:
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            said = str(error).splitlines()[0]
            raise ConfigError(f"NEXUS_DATABASE_URL: {said}: this needs the database's owner") from None


def tier(connection: Connection) -> Tier:
    """The database's tier."""
    return tier_of(connection.execute(LICENSE).fetchone())


def tier_of(found: tuple[object, ...] | None) -> Tier:
    """The tier, from the answer to the query LICENSE."""
    if found is None:
        return Tier.PLAIN
    return Tier.COMMUNITY if found[0] == "timescale" else Tier.APACHE


def unconnected(error: psycopg.OperationalError) -> ConfigError | UnavailableError:
    reason = str(error).strip().removeprefix("connection failed: ")
    text = f"NEXUS_DATABASE_URL: no connection: {reason}"
    if missing := re.search(r'database "([^"]*)" does not exist', reason):
        return ConfigError(f"{text}: make it with `createdb {missing[1]}`, or correct the name")
    is_refused = "authentication failed" in reason or "no pg_hba.conf entry" in reason or "does not exist" in reason
    return ConfigError(text) if is_refused else UnavailableError(text)


def migrate(connection: Connection, settings: Settings) -> list[str]:
    """Applies missing migrations, then policies and passwords; returns the names applied.

    A setting that is not given stays as the database has it.

    Safe to run again, and from several places at once. Raises ConfigError when the database has moved to another tier.
    """
    found = _begin(connection)
    _check_tier(connection, found)
    done = [name for name in names() if exclusively(connection, name, partial(_apply, connection, name, found))]
    _finish(connection, settings, found)
    return done


def _finish(connection: Connection, settings: Settings, found: Tier) -> None:
    """Runs at every migration: settings may have changed, or the database may have been restored."""
    has_aggregates = found is Tier.COMMUNITY
    settings = kept.completed(connection, settings, has_jobs=has_aggregates)
    exclusively(connection, "NEXUS_INGEST_MODE", partial(_set_mode, connection, settings, found))
    set_zone = partial(days.set_zone, connection, settings.time_zone, has_aggregates=has_aggregates)
    exclusively(connection, "NEXUS_TIME_ZONE", set_zone)
    exclusively(connection, "the rights", partial(rights.revoke, connection))
    if has_aggregates:
        days.compute(connection)
        exclusively(connection, "the policies", partial(_set_policies, connection, settings))
    else:
        _drop_old(connection, settings)
    exclusively(connection, "the passwords", partial(_set_passwords, connection, settings))


def _drop_old(connection: Connection, settings: Settings) -> None:
    audit = settings.retention_audit
    wanted = {"rejects": settings.retention_rejects, "audit": audit, "console_audit": audit, "completeness": audit}
    wanted["alarm_events"] = settings.retention_alarms
    ages = {table: age for table, age in wanted.items() if age is not None}
    connection.execute("CALL drop_old_records(NULL, %s)", (Jsonb(ages),))


def _begin(connection: Connection) -> Tier:
    """Creates the table of migrations and the extension; returns the tier."""
    errors = psycopg.errors
    with suppress(errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):  # a concurrent CREATE
        connection.execute(
            "CREATE TABLE IF NOT EXISTS nexus_migrations"
            " (name text PRIMARY KEY, tier text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    exclusively(connection, "the extension", partial(_extend, connection))
    return tier(connection)


def _check_tier(connection: Connection, found: Tier) -> None:
    if other := set(applied(connection).values()) - {found}:
        raise ConfigError(
            f"this schema was made for tier {', '.join(other)}, and the database now is {found}: "
            "dump the data, migrate an empty database, and load it there (docs/operations/database.md)"
        )


def _apply(connection: Connection, name: str, found: Tier) -> bool:
    """Applies a migration; returns whether it was missing."""
    if name in applied(connection):
        return False
    if (file := _file(name, found)) is not None:
        connection.execute(file.read_text(encoding="utf-8").encode())
    connection.execute("INSERT INTO nexus_migrations (name, tier) VALUES (%s, %s)", (name, found))
    return True


def applied(connection: Connection) -> dict[str, str]:
    """Applied migrations, and the tier of each."""
    if connection.execute("SELECT to_regclass('nexus_migrations')").fetchone() == (None,):
        return {}
    return {str(name): str(at) for name, at in connection.execute("SELECT name, tier FROM nexus_migrations ORDER BY 1")}


def names() -> list[str]:
    """All migrations, in their order."""
    found = (_FILE.fullmatch(file.name) for file in _folder().iterdir())
    return sorted({match[1] for match in found if match})


def migration_files(found: Tier) -> list[Traversable]:
    """The files of a tier, in their order."""
    return [file for name in names() if (file := _file(name, found)) is not None]


def _folder() -> Traversable:
    return files("db") / "migrations"


def _file(name: str, found: Tier) -> Traversable | None:
    for ending in _ENDINGS[found]:
        file = _folder() / (f"{name}.{ending}.sql" if ending else f"{name}.sql")
        if file.is_file():
            return file
    return None


def _extend(connection: Connection) -> None:
    """Creates the extension where the server has it."""
    offered = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    if offered is None:
        return
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        raise ConfigError(f"TimescaleDB is installed but cannot be switched on: {str(error).strip()}") from None


def _set_mode(connection: Connection, settings: Settings, found: Tier) -> None:
    """Bulk mode has no unique index, as rows cannot be written straight to the columnstore with one."""
    row = connection.execute(
        "SELECT indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass"
    ).fetchone()
    is_unique, wanted = row == (True,), settings.ingest_mode == "exact"
    if wanted == is_unique:
        return
    if found is not Tier.COMMUNITY:
        raise ConfigError("NEXUS_INGEST_MODE: bulk needs TimescaleDB Community, whose columnstore it writes to")
    if wanted:
        raise ConfigError(
            "NEXUS_INGEST_MODE: this table is in bulk mode, and may hold what a unique index forbids: see"
            " docs/operations/bulk.md for the way back"
        )
    connection.execute("DROP INDEX metrics_topic_time")
    connection.execute("CREATE INDEX metrics_topic_time ON metrics (topic, time)")


def _set_policies(connection: Connection, settings: Settings) -> None:
    text = (files("db") / "policies.sql").read_text(encoding="utf-8")
    readings = ("retention", "retention_1min", "retention_1hour", "retention_1day")
    records = ("retention_rejects", "retention_audit", "retention_alarms")
    ages = ("compress_after", "refresh_1min", "refresh_1hour", "refresh_1day", *readings, *records)
    # Integers, and NULL for "never": validated settings, so they can stand in the text.
    for age in ages:
        text = text.replace(f"{{{age}}}", str(getattr(settings, age) or "NULL"))
    connection.execute(text.encode())


def _set_passwords(connection: Connection, settings: Settings) -> None:
    """A role with a password may log in. The server, which may log statements, only receives a verifier."""
    for role, password in settings.passwords.items():
        if password is not None:
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode())
            )
            with connection.transaction():
                _silence_log(connection)
                connection.execute(statement)
            if role in _SHARES:
                _limit(connection, role)


def _limit(connection: Connection, role: str) -> None:
    """Limits a role's connections and idle transactions; what somebody has set for the role stays."""
    found = connection.execute(
        "SELECT rolconnlimit, coalesce(rolconfig, '{}'), current_setting('max_connections')::int"
        " FROM pg_roles WHERE rolname = %s",
        (role,),
    ).fetchone()
    connections, config, most = cast("tuple[int, list[str], int]", found)
    given = {one.partition("=")[0] for one in config}
    limits = [f"SET {name} = '{value}'" for name, value in _LIMITS.items() if name not in given]
    if connections < 0:
        limits.append(f"CONNECTION LIMIT {most // _SHARES[role]}")
    for limit in limits:
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"ALTER ROLE {role} {limit}".encode())


def _silence_log(connection: Connection) -> None:
    """Keeps even a verifier out of the log, for this transaction, where our role may."""
    for setting in ("log_statement = 'none'", "log_min_duration_statement = -1", "log_min_error_statement = 'panic'"):
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"SET LOCAL {setting}".encode())
