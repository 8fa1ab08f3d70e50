"""`nexus db backup` and `restore`: pg_dump's custom format, and the steps around it that TimescaleDB requires."""

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from db.migrate import Connection, Tier, applied, connect, tier
from nexus.process.errors import ConfigError

ROLES = ("nexus_writer", "nexus_reader", "nexus_console", "nexus_rules")
ABANDONED_SECONDS = 3600.0  # the partial file of a killed backup is deleted after this
_NOTE = "INSERT INTO backups (seconds, bytes, file) VALUES (%s, %s, %s)"


def backup(url: str, to: Path, keep: int | None = None) -> tuple[Path, int]:
    """Dumps the whole database to a file, or to a new file in a folder; returns it and its size in bytes.

    The file appears once it is complete. It is one snapshot, taken while everything runs, and is noted in the table
    `backups`. In a folder, created if missing, the newest `keep` dumps stay. Raises ConfigError.
    """
    with connect(url) as connection:
        if not applied(connection):
            raise ConfigError("NEXUS_DATABASE_URL: there is no historian in this database")
    if keep is not None:
        to.mkdir(mode=0o700, exist_ok=True)
    began = time.monotonic()
    file = to / f"nexus-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump" if to.is_dir() else to
    part = file.with_name(file.name + ".part")
    try:
        _run("pg_dump", "--format=custom", f"--file={part}", url=url)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    size = file.stat().st_size
    if keep is not None:
        for old in [*sorted(to.glob("nexus-*.dump"))[:-keep], *filter(_is_abandoned, to.glob("nexus-*.dump.part"))]:
            old.unlink()
    with connect(url) as connection:
        connection.execute(_NOTE, (time.monotonic() - began, size, str(file)))
    return file, size


def restore(url: str, file: Path) -> None:
    """Loads a dump into an empty database of the same tier; nobody else can use it meanwhile.

    Raises ConfigError, and then leaves what was restored so far, closed to the others.
    """
    if not file.is_file():
        raise ConfigError(f"{file} is not there")
    has_timescale = b"timescaledb" in _run("pg_restore", "--list", str(file))
    with connect(url) as connection:
        if connection.execute("SELECT to_regclass('metrics'), to_regclass('nexus_migrations')").fetchone() != (
            None,
            None,
        ):
            raise ConfigError("NEXUS_DATABASE_URL: this database holds a historian already: restore into an empty one")
        for role in ROLES:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        admitted = _close(connection)
        if has_timescale:
            _prepare(connection)
    try:
        _run("pg_restore", "--exit-on-error", "--no-owner", str(file), url=url)
    finally:
        if has_timescale:
            with connect(url) as connection:
                connection.execute("SELECT timescaledb_post_restore()")
    with connect(url) as connection:
        _open(connection, admitted)
        connection.execute("ANALYZE")
        if found := set(applied(connection).values()) - {tier(connection)}:
            raise ConfigError(
                f"the dump is of tier {', '.join(found)} and cannot be restored on a server of tier {tier(connection)}"
            )


def _is_abandoned(part: Path) -> bool:
    """Whether its writer is gone: the file has stopped growing."""
    return time.time() - part.stat().st_mtime > ABANDONED_SECONDS


def _close(connection: Connection) -> list[sql.Composable]:
    """Ends other sessions, and admits only owner and superusers: rows would be lost. Returns who had access."""
    found = connection.execute(
        "SELECT DISTINCT coalesce(rolname, '') FROM pg_database,"
        " aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl LEFT JOIN pg_roles ON pg_roles.oid = acl.grantee"
        " WHERE datname = current_database() AND privilege_type = 'CONNECT' AND grantee <> datdba"
    )
    admitted: list[sql.Composable] = [sql.Identifier(str(name)) if name else sql.SQL("PUBLIC") for (name,) in found]
    for role in admitted:
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(_name(connection), role))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return admitted


def _open(connection: Connection, admitted: list[sql.Composable]) -> None:
    for role in admitted:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(_name(connection), role))


def _name(connection: Connection) -> sql.Identifier:
    return sql.Identifier(connection.info.dbname)


def _prepare(connection: Connection) -> None:
    offered = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    if offered is None:
        raise ConfigError("the dump needs TimescaleDB, in the version that it was made with, and this server has none")
    connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    if tier(connection) is Tier.PLAIN:
        raise ConfigError("TimescaleDB cannot be switched on in this database")
    connection.execute("SELECT timescaledb_pre_restore()")


def _run(program: str, *arguments: str, url: str | None = None) -> bytes:
    """Returns its output. Files that it creates are readable by their owner only."""
    if (path := shutil.which(program)) is None:
        raise ConfigError(
            f"{program} is not installed: it comes with PostgreSQL's client programs, of the server's version"
        )
    environment = dict(os.environ)
    if url is not None:
        target, secret = _split(url)
        arguments = (*arguments, f"--dbname={target}")
        environment |= secret
    done = subprocess.run(  # noqa: S603  our own arguments
        [path, *arguments], env=environment, umask=0o077, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if any("server version mismatch" in line for line in said):
            raise ConfigError(f"{path} is older than the server: install PostgreSQL's client programs of its version")
        text = "; ".join(said[-2:]) or f"{program}: exit code {done.returncode}"
        raise ConfigError(f"{text}: this needs the database's owner" if "permission denied" in text else text)
    return done.stdout


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The database without its password, which arguments would show to everybody here, and the password apart."""
    found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    if "sslpassword" in found:
        raise ConfigError("NEXUS_DATABASE_URL: pg_dump cannot be given sslpassword safely: use a key without one")
    password = found.pop("password", None)
    return make_conninfo(**found), {} if password is None else {"PGPASSWORD": password}
