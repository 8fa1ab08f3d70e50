"""A database of the first release becomes one of today: all is kept, also when all who migrate it are killed on the way."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from db import migrate as schema
from db.settings import Settings
from tests.conftest import TIERS
from tests.integration.test_database import refresh
from tests.integration.test_historian_tools import run
from tests.integration.test_writer import query, series, write
from tests.parts import Nexus, until

FIRST_RELEASE = [name for name in schema.names() if name < "014"]
POLICIES = Path(__file__).with_name("first_release.sql")
PROCESSES = 5  # that migrate at once
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=20)
CONTENTS = (
    "SELECT * FROM metrics ORDER BY topic, time",
    "SELECT topic, payload, reason, source, time FROM rejects ORDER BY id",
    "SELECT * FROM topics ORDER BY 1",
    "SELECT * FROM backups ORDER BY 1",
    "SELECT * FROM metrics_1min ORDER BY topic, bucket",
    "SELECT * FROM metrics_1hour ORDER BY topic, bucket",
    "SELECT * FROM metrics_1day ORDER BY topic, bucket",
)
# A migration that has done its work waits here until the test lets go of the lock, or the process is killed.
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(42);
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE INSERT ON nexus_migrations FOR EACH ROW WHEN (NEW.name = '{}') EXECUTE FUNCTION hold()
"""
WHAT_THERE_IS = """
SELECT 'function ' || proname || pg_get_function_identity_arguments(oid) || prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
UNION ALL SELECT 'grant ' || grantee || privilege_type || table_name FROM information_schema.role_table_grants
WHERE grantee LIKE 'nexus%' AND table_schema = 'public'
UNION ALL SELECT 'column ' || table_name || column_name || data_type FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1
"""
JOBS = """
SELECT proc_name, schedule_interval, config - 'hypertable_id' - 'mat_hypertable_id'
FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1, 3
"""


def first_release(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema as it was, and something of everything in it; a day of readings is in the columnstore."""

    def policies(connection: schema.Connection, _: Settings) -> None:
        connection.execute(POLICIES.read_bytes())

    with monkeypatch.context() as patched, schema.connect(url) as connection:
        patched.setattr(schema, "names", lambda: FIRST_RELEASE)
        patched.setattr(schema, "_set_policies", policies)
        patched.setattr(schema, "_drop_old", lambda *_: None)
        patched.setattr("db.days.set_zone", lambda *_, **__: None)
        patched.setattr("db.days.compute", lambda *_: None)
        patched.setattr("db.kept.completed", lambda _, settings, **__: settings)
        assert schema.migrate(connection, Settings()) == FIRST_RELEASE
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT t, 'dev/a/' || n, n, 'x', 192, 'V'"
            " FROM generate_series(%s, %s, interval '5 minutes') AS t, generate_series(1, 5) AS n",
            (DAY, DAY + timedelta(days=2)),
        )
        connection.execute("INSERT INTO topics SELECT DISTINCT topic FROM metrics")
        connection.execute("INSERT INTO rejects (topic, payload, reason, source) VALUES ('dev/x', 'abc', 'no', 'dev')")
        connection.execute("INSERT INTO committed VALUES ('p', '{[1,5)}')")
        connection.execute("INSERT INTO backups (seconds, bytes, file) VALUES (1, 2, 'x')")
    with schema.connect(url) as connection:
        if schema.tier(connection) is schema.Tier.COMMUNITY:
            for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
                refresh(connection, view)
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics') c")


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_database_of_the_first_release_is_migrated_with_all_it_holds(
    empty_database: str, nexus: Callable[..., Nexus], monkeypatch: pytest.MonkeyPatch
) -> None:
    first_release(empty_database, monkeypatch)
    before = [query(empty_database, text) for text in CONTENTS]
    assert len(before[0]) > 2000
    held = schema.names()[len(FIRST_RELEASE) + 2]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(HOLD.format(held).encode())
        connection.execute("SELECT pg_advisory_lock(42)")
        migrations = [nexus("db", "migrate", database_url=empty_database) for _ in range(PROCESSES)]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"
        until(lambda: query(empty_database, waiting) == [(1,)], "it is on its way", 30)
        for one in migrations:
            one.process.kill()
            one.process.wait()
        connection.execute("SELECT pg_advisory_unlock(42)")
        connection.execute("DROP TRIGGER hold ON nexus_migrations; DROP FUNCTION hold")
    assert query(empty_database, f"SELECT count(*) FROM nexus_migrations WHERE name = '{held}'") == [(0,)]
    assert [query(empty_database, text) for text in CONTENTS] == before
    migrations = [nexus("db", "migrate", database_url=empty_database) for _ in range(PROCESSES)]
    assert [one.process.wait(120) for one in migrations] == [0] * PROCESSES
    assert "".join(one.log.read_text() for one in migrations).count(f"applied {held}") == 1
    assert [query(empty_database, text) for text in CONTENTS] == before
    assert query(empty_database, "SELECT publisher, first, last FROM committed") == [("p", 0, 4)]
    as_writer, as_reader = (
        make_conninfo(empty_database, options=f"-crole=nexus_{who}") for who in ("writer", "reader")
    )
    assert run(as_reader, "db", "status").returncode == 0
    assert [written.duplicates for written in write(as_writer, series(100))] == [0]
    assert [written.duplicates for written in write(as_writer, series(100))] == [100]


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_migrated_schema_is_the_same_as_a_new_one(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    new = make_conninfo(empty_database, dbname=f"{name}_new")
    server = make_conninfo(empty_database, dbname="postgres")
    first_release(empty_database, monkeypatch)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}_new"'.encode())
    try:
        for url in (empty_database, new):
            assert run(url, "db", "migrate").returncode == 0
        assert query(empty_database, WHAT_THERE_IS) == query(new, WHAT_THERE_IS)
        if query(new, "SELECT tier FROM nexus_migrations LIMIT 1") == [("community",)]:
            assert query(empty_database, JOBS) == query(new, JOBS)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}_new" WITH (FORCE)'.encode())
