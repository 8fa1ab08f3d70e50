"""What nobody can do to the database with a reader's or a writer's login, and how migrating goes on beside them."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from db import exclusive
from db import migrate as schema
from db.settings import Settings
from db.status import status
from nexus.process.errors import ConfigError
from tests.conftest import TIERS
from tests.integration.test_writer import query
from tests.parts import Postgres, as_role, until

tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)
OLD = datetime.now(UTC) - timedelta(days=30)


@tiers
def test_a_reader_in_the_way_of_a_migration_is_named_and_holds_up_no_writer(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [name for name in schema.names() if name < "015"]
    with monkeypatch.context() as patched, schema.connect(empty_database) as connection:
        patched.setattr(schema, "names", lambda: before)
        patched.setattr(schema, "_finish", lambda *_: None)
        schema.migrate(connection, Settings())
    monkeypatch.setattr(exclusive, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(exclusive, "PATIENCE_SECONDS", 3.0)
    url = make_conninfo(as_role(empty_database, "nexus_reader"), application_name="dashboard")
    with psycopg.connect(url) as reader, psycopg.connect(empty_database, autocommit=True) as writer:
        reader.execute("SELECT count(*) FROM rejects")  # and its transaction stays open
        writer.execute("SET statement_timeout = '2s'")
        said: list[str] = []

        def run() -> None:
            with pytest.raises(ConfigError) as caught, schema.connect(empty_database) as connection:
                schema.migrate(connection, Settings())
            said.append(str(caught.value))

        migrating = threading.Thread(target=run)
        migrating.start()
        while migrating.is_alive():
            writer.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('x', '', 'y')")
        migrating.join()
        pid = reader.info.backend_pid
        assert said[0].startswith("015_reject_tags: no lock for 3 s")
        assert f"pid {pid} (" in said[0]
        assert "dashboard: idle in transaction, for 00:00:0" in said[0]
    with schema.connect(empty_database) as connection:
        assert schema.migrate(connection, Settings())[0] == "015_reject_tags"


def test_one_that_holds_advisory_locks_stops_no_migration(database: str) -> None:
    with psycopg.connect(database) as owner:  # where no superuser migrates, everybody may do this
        owner.execute("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO nexus_reader")
    with psycopg.connect(as_role(database, "nexus_reader")) as reader:
        reader.execute("SELECT pg_advisory_lock(7230645001)")
        with schema.connect(database) as connection:
            connection.execute("SET statement_timeout = '20s'")
            assert schema.migrate(connection, Settings()) == []


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_dropping_chunks_gives_way_to_a_transaction_that_has_read_one(database: str) -> None:
    drop = b"CALL drop_old_chunks(1, '{\"metrics\": 20}')"
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("INSERT INTO metrics VALUES (%s, 'dev/a/t', 1, NULL, 192, NULL)", (OLD,))
        with psycopg.connect(as_role(database, "nexus_reader")) as reader:
            reader.execute("SELECT count(*) FROM metrics")
            owner.execute("SET statement_timeout = '120s'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                owner.execute(drop)
        owner.execute(
            "SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'compress_old_chunks'"
        )  # which may be at the same chunk by now
        owner.execute(drop)
        assert owner.execute("SELECT count(*) FROM show_chunks('metrics')").fetchone() == (0,)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_compressing_gives_way_to_a_transaction_that_has_read_the_chunk(database: str) -> None:
    jobs = "SELECT job_id, config::text FROM timescaledb_information.jobs WHERE proc_name = 'compress_old_chunks'"
    [(job, config)] = query(database, jobs)
    with psycopg.connect(database, autocommit=True) as owner, psycopg.connect(database, autocommit=True) as writer:
        ran = (
            "SELECT total_runs > 0 AND job_status <> 'Running' FROM timescaledb_information.job_stats WHERE job_id = %s"
        )
        until(lambda: owner.execute(ran, (job,)).fetchone() == (True,), "its first run is over", 60)
        owner.execute("SELECT alter_job(%s, scheduled => false)", (job,))
        owner.execute("INSERT INTO metrics VALUES (%s, 'dev/a/t', 1, NULL, 192, NULL)", (OLD,))
        compress = sql.SQL("CALL compress_old_chunks({}, {}::jsonb)").format(job, config)
        with psycopg.connect(as_role(database, "nexus_reader")) as reader:
            reader.execute("SELECT count(*) FROM metrics")
            owner.execute("SET statement_timeout = '60s'")
            with pytest.raises(psycopg.errors.DataException, match="columnstore policy failure"):
                owner.execute(compress)
            writer.execute("SET statement_timeout = '5s'")
            writer.execute("INSERT INTO metrics VALUES (%s, 'dev/b/t', 1, NULL, 192, NULL)", (OLD,))
        owner.execute(compress)
        compressed = (
            "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics' AND is_compressed"
        )
        assert owner.execute(compressed).fetchone() == (1,)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_a_view_of_the_callers_is_not_read_with_the_owners_rights(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"GRANT TEMPORARY ON DATABASE {owner.info.dbname} TO nexus_reader".encode())
        owner.execute("GRANT USAGE ON LANGUAGE plpgsql TO nexus_reader")
        owner.execute("INSERT INTO metrics VALUES (%s, 'dev/a/t', 1, NULL, 192, NULL)", (OLD,))
    with psycopg.connect(as_role(database, "nexus_reader"), autocommit=True) as reader:
        reader.execute(
            "CREATE FUNCTION pg_temp.taken() RETURNS timestamptz LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'this is run by %', current_user; END $$"
        )
        reader.execute("CREATE TEMP VIEW metrics AS SELECT pg_temp.taken() AS time")
        assert reader.execute("SELECT days_not_rolled_up()").fetchone() == (1,)


@tiers
def test_what_runs_as_the_owner_looks_in_the_callers_schema_last_and_is_not_for_everybody(database: str) -> None:
    ours = (
        "SELECT proname, proconfig::text LIKE '%search\\_path=%, pg\\_temp%', has_function_privilege('public', oid, 'execute')"
        " FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
    )
    found = query(database, ours)
    assert ("conflicting", True, False) in found
    assert [name for name, is_fixed, is_for_everybody in found if not is_fixed or is_for_everybody] == []


@tiers
def test_only_writers_may_make_temporary_tables(database: str) -> None:
    with psycopg.connect(as_role(database, "nexus_writer"), autocommit=True) as writer:
        writer.execute("CREATE TEMP TABLE arriving (topic text)")
    with psycopg.connect(as_role(database, "nexus_reader"), autocommit=True) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("CREATE TEMP TABLE arriving (topic text)")
        for procedure in (
            "merge_late(1, NULL)",
            "drop_old_chunks(1, '{}')",
            "compress_old_chunks(1, '{}')",
            "drop_old_records(1, '{}')",
            "forget_committed(1, '{}')",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction)):
                reader.execute(f"CALL {procedure}".encode())


@tiers
def test_a_reader_cannot_take_what_the_server_has_once(database: str) -> None:
    with psycopg.connect(as_role(database, "nexus_reader"), autocommit=True) as reader:
        is_hypertable = reader.execute("SELECT to_regproc('add_job') IS NOT NULL").fetchone() == (True,)
        for forbidden in (
            "SELECT pg_advisory_lock(n) FROM generate_series(1, 1000000) AS n",
            "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
            "SELECT lo_create(0)",
            "SELECT lo_from_bytea(0, 'x')",
            "DO $$ BEGIN FOR turn IN 1..1000000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$",
            "SELECT txid_current(), pg_current_xact_id()",
            "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000)) FROM generate_series(1, 1000)",
            "SELECT pg_notify('x', repeat('x', 7000))",
            *(["SELECT add_job('_timescaledb_functions.policy_job_stat_history_retention', '1 s')"] * is_hypertable),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(forbidden.encode())


@tiers
def test_a_database_that_others_use_too_keeps_what_everybody_may(empty_database: str) -> None:
    tool = "SELECT pg_advisory_lock(1), pg_advisory_unlock(1), lo_unlink(lo_create(0))"
    with psycopg.connect(empty_database, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA erp; CREATE TABLE erp.orders (id int); CREATE TABLE schema_history (id int)")
    with schema.connect(empty_database) as connection:
        schema.migrate(connection, Settings())
        query(as_role(empty_database, "nexus_reader"), tool)
        said = dict(status(connection)[0])["public rights"]
        assert "(erp.orders, public.schema_history), so they are left alone: give it a database of its own" in said
        connection.execute("DROP TABLE erp.orders, schema_history")
        schema.migrate(connection, Settings())
        assert dict(status(connection)[0])["public rights"] == "revoked", "no table of ours is foreign"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(as_role(empty_database, "nexus_reader"), tool)


def test_a_reader_that_logs_in_gets_half_of_the_connections_and_does_not_idle_in_a_transaction(
    postgres: Postgres,
) -> None:
    limits = "SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'nexus_reader'"
    with schema.connect(postgres.url) as connection:
        schema.migrate(connection, Settings(reader_password="it's-secret-enough"))
        [(connections, config)] = query(postgres.url, limits)
        assert connections == 50
        assert {"idle_in_transaction_session_timeout=10min", "statement_timeout=1h"} <= set(config)
        connection.execute("ALTER ROLE nexus_reader CONNECTION LIMIT 7")
        connection.execute("ALTER ROLE nexus_reader SET statement_timeout = '5s'")
        schema.migrate(connection, Settings(reader_password="it's-secret-enough"))
        [(connections, config)] = query(postgres.url, limits)
        assert (connections, "statement_timeout=5s" in config) == (7, True)


@tiers
def test_old_rejects_and_audit_records_are_dropped_in_steps(database: str) -> None:
    with psycopg.connect(database) as connection:
        for days in (5, 15):
            age = timedelta(days=days)
            connection.execute(
                "INSERT INTO rejects (topic, payload, reason, time) SELECT 'x', '', 'y', now() - %s"
                " FROM generate_series(1, 10001)",
                (age,),
            )
            connection.execute(
                "INSERT INTO audit (time, id, topic, event, detail)"
                " SELECT now() - %s, %s || n, 'audit/x', 'write', '{}' FROM generate_series(1, 10001) AS n",
                (age, str(days)),
            )
            connection.execute(
                "INSERT INTO console_audit (time, event, person, via, address)"
                " SELECT now() - %s, 'login', 'anna', 'session', '::1' FROM generate_series(1, 10001)",
                (age,),
            )
    kept = "SELECT (SELECT count(*) FROM rejects), (SELECT count(*) FROM audit), (SELECT count(*) FROM console_audit)"
    with schema.connect(database) as connection:
        schema.migrate(connection, Settings(retention_rejects=10, retention_audit=None))
        until(
            lambda: query(database, kept) == [(10001, 20002, 20002)], "old rejects are gone, and audit records not", 60
        )
        schema.migrate(connection, Settings(retention_audit=10))
        until(lambda: query(database, kept) == [(10001, 10001, 10001)], "old audit records are gone", 60)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community", "apache"], indirect=True)
def test_a_writer_makes_no_chunk_of_its_own(database: str) -> None:
    with psycopg.connect(as_role(database, "nexus_writer"), autocommit=True) as writer:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(
                "SELECT _timescaledb_functions.create_chunk('metrics', '{\"time\": [1893456000000000, 32503680000000000]}')"
            )
        writer.execute("INSERT INTO metrics VALUES (%s, 'dev/a/t', 1, NULL, 192, NULL)", (OLD,))
    taken = "SELECT proname FROM pg_proc WHERE proname ~ '^create_(compressed_)?chunk$' AND has_function_privilege('public', oid, 'execute')"
    assert query(database, taken) == []


def test_the_role_of_rules_has_its_own_tables_and_one_lock(database: str) -> None:
    granted = query(
        database,
        "SELECT table_name::text, string_agg(privilege_type, ' ' ORDER BY privilege_type)"
        " FROM information_schema.role_table_grants WHERE grantee = 'nexus_rules' GROUP BY 1 ORDER BY 1",
    )
    assert granted == [
        ("rule_alarms", "DELETE INSERT SELECT UPDATE"),
        ("rule_outbox", "DELETE INSERT SELECT"),
        ("rule_publishers", "INSERT SELECT UPDATE"),
        ("rule_states", "INSERT SELECT UPDATE"),
    ]
    for role in ("nexus_reader", "nexus_writer", "nexus_console"):
        with psycopg.connect(as_role(database, role)) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("SELECT publisher FROM rule_publishers")
    with psycopg.connect(as_role(database, "nexus_rules"), autocommit=True) as rules:
        for forbidden in ("SELECT pg_advisory_lock(1)", "SELECT count(*) FROM metrics", "TABLE alarm_events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                rules.execute(forbidden.encode())
        assert rules.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (True,)
