"""The schema on each tier that is at hand."""

import asyncio
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import ingestion.store.database
from db.migrate import Connection, connect, migrate, names, tier
from db.settings import Settings, load
from db.status import locks, status
from nexus.process.errors import ConfigError, UnavailableError
from tests.conftest import TIERS
from tests.parts import Postgres, as_role, until

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def insert(url: str, rows: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO metrics VALUES (%s, %s, %s, %s, %s, %s)", rows)


def refresh(connection: Connection, view: str) -> None:
    """All of it; while a policy does the same it is refused."""

    def done() -> bool:
        try:
            connection.execute(f"CALL refresh_continuous_aggregate('{view}', NULL, NULL)".encode())
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    until(done, f"{view} is refreshed", 60)


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_migrating_twice_changes_nothing(empty_database: str) -> None:
    with connect(empty_database) as connection:
        assert migrate(connection, Settings()) == names()
        assert migrate(connection, Settings()) == []


def test_a_database_in_sql_ascii_is_one_like_others(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS ascii")
        connection.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    url = make_conninfo(empty_database, dbname="ascii")
    with connect(url) as connection:
        assert migrate(connection, Settings()) == names()
        assert migrate(connection, Settings()) == []

    async def units() -> list[tuple[Any, ...]]:
        async with await ingestion.store.database.connect(url) as connection:
            await connection.execute("INSERT INTO metrics VALUES (now(), 'dev/a/b', 1, NULL, 192, '°C')")
            return await (await connection.execute("SELECT unit FROM metrics")).fetchall()

    assert asyncio.run(units()) == [("°C",)]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DROP DATABASE ascii")


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_several_may_migrate_at_once(empty_database: str) -> None:
    done: list[str] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            with connect(empty_database) as connection:
                done.extend(migrate(connection, Settings()))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(done) == names(), "each by one of them"


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_reading_is_stored_once(database: str) -> None:
    row = (MIDNIGHT, "dev/a/t", 1.0, None, 192, None)
    insert(database, [row])
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(database, [row])


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_rollups_are_exact_up_the_hierarchy(database: str) -> None:
    # Two minutes with unequal numbers of values: an average of averages would be 6, and not 4.
    rows = [(MIDNIGHT + timedelta(seconds=s), "dev/a/t", v, None, 192, None) for s, v in enumerate((1.0, 2.0, 3.0))]
    rows.append((MIDNIGHT + timedelta(minutes=1), "dev/a/t", 10.0, None, 192, None))
    rows.append((MIDNIGHT + timedelta(minutes=1, seconds=1), "dev/a/t", 99.0, None, 0, None))
    insert(database, rows)
    with connect(database) as connection:
        for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
            found: Any = connection.execute(
                f"SELECT sum(count), sum(good), sum(sum) / sum(numbers), min(min), max(max) FROM {view}"
            ).fetchone()
            assert found is not None
            assert tuple(map(float, found)) == (5, 4, 4.0, 1.0, 10.0)
        hour = connection.execute("SELECT bucket, topic, avg, first, last FROM metrics_1hour").fetchall()
        assert hour == [(MIDNIGHT, "dev/a/t", 4.0, 1.0, 10.0)]


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_first_and_last_are_those_of_the_earliest_and_the_latest_good_number(database: str) -> None:
    values: list[tuple[float | None, str | None, int]] = [
        *((None, "starting", 192), (50.0, None, 0), (5.0, None, 192), (-9.0, None, 64)),
        *((70.0, None, 192), (6.0, None, 192), (99.0, None, 0), (None, "stopped", 192)),
    ]
    insert(
        database,
        [
            (MIDNIGHT + timedelta(microseconds=n), "dev/a/t", value, text, quality, None)
            for n, (value, text, quality) in enumerate(values)
        ],
    )
    with connect(database) as connection:
        for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
            found = connection.execute(f"SELECT first, last, count, good, numbers FROM {view}".encode()).fetchall()
            assert found == [(5.0, 6.0, 8, 5, 4)]


@pytest.mark.parametrize("empty_database", ["apache"], indirect=True)
def test_a_range_of_rollups_reads_only_the_chunks_that_it_is_in(database: str) -> None:
    insert(database, [(MIDNIGHT - timedelta(days=n), "dev/a/t", 1.0, None, 192, None) for n in range(10)])
    with connect(database) as connection:
        for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
            query = f"EXPLAIN SELECT * FROM {view} WHERE topic = 'dev/a/t' AND bucket >= '{MIDNIGHT}'"
            plan = "\n".join(str(line) for (line,) in connection.execute(query.encode()))
            assert len(set(re.findall(r"_hyper_\d+_\d+_chunk\b", plan))) == 1, plan


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_status_says_what_there_is(request: pytest.FixtureRequest, empty_database: str) -> None:
    with connect(empty_database) as connection:
        rows, newest = status(connection)
        assert not newest
        assert dict(rows)["migrations missing"] == ", ".join(names())
        migrate(connection, Settings())
        rows, newest = status(connection)
        assert newest
        assert dict(rows)["tier"] == request.node.callspec.params["empty_database"]


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_the_writer_can_only_write_and_the_reader_only_read(database: str) -> None:
    with connect(database) as connection:
        connection.execute("SET ROLE nexus_writer")
        connection.execute("INSERT INTO metrics VALUES (now(), 'dev/a/t', 1, NULL, 192, NULL) ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('dev/a', '', 'x')")
        for forbidden in (
            "DELETE FROM metrics",
            "DROP TABLE metrics",
            "TRUNCATE metrics",
            "UPDATE metrics SET value = 0",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
        connection.execute("SET ROLE nexus_reader")
        for view in ("metrics", "rejects", "metrics_1min", "metrics_1hour", "metrics_1day"):
            connection.execute(f"SELECT * FROM {view} LIMIT 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO metrics VALUES (now(), 'dev/a/u', 1, NULL, 192, NULL)")


def test_a_role_logs_in_with_a_password_that_the_server_was_never_told(postgres: Postgres) -> None:
    password = "it's-secret-enough"
    with connect(postgres.url) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
        until(lambda: connection.execute("SHOW log_statement").fetchone() == ("all",), "statements are logged")
        migrate(connection, Settings(writer_password=password))
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        Path(str(row[0])).write_text("host all nexus_writer all scram-sha-256\nhost all all all trust\n")
        connection.execute("SELECT pg_reload_conf()")
        rules = "SELECT count(*) FROM pg_hba_file_rules"
        until(lambda: connection.execute(rules).fetchone() == (2,), "a password is asked for")
    assert "nexus_migrations" in postgres.log.read_text(), "statements were not logged"
    assert password not in postgres.log.read_text()
    assert "SCRAM-SHA-256$" not in postgres.log.read_text()
    writer = make_conninfo(postgres.url, user="nexus_writer")
    psycopg.connect(writer, password=password).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(writer, password="another")


def test_an_owner_who_is_no_superuser_can_migrate(postgres: Postgres) -> None:
    with connect(postgres.url) as connection:
        for text in (
            "DROP OWNED BY nexus_writer, nexus_reader",
            "DROP ROLE nexus_writer, nexus_reader",
            "CREATE ROLE plant LOGIN CREATEROLE",
            "CREATE DATABASE plant OWNER plant",
        ):
            connection.execute(text.encode())
    with connect(make_conninfo(postgres.url, dbname="plant", user="plant")) as connection:
        assert migrate(connection, Settings(writer_password="it's-secret-enough")) == names()
        assert status(connection)[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"writer_password": ""}, "NEXUS_WRITER_PASSWORD: the password is empty"),
        ({"reader_password": " "}, "NEXUS_READER_PASSWORD: the password is empty"),
        ({"writer_password": "Change-Me"}, "NEXUS_WRITER_PASSWORD: the password is still 'change-me'"),
        ({"reader_password": "short"}, "NEXUS_READER_PASSWORD: use at least 12 characters"),
        ({"retention": "8d"}, "NEXUS_RETENTION (8d) must be longer than NEXUS_COMPRESS_AFTER (7d) by two days"),
        ({"retention": "20d", "compress_after": "19d"}, "NEXUS_RETENTION (20d) must be longer"),
        ({"retention": "10d", "spool_age": "14d"}, "must not be shorter than the gateways' NEXUS_SPOOL_AGE (14d)"),
        ({"retention_1min": "60d"}, "must rise"),
        ({"retention_1day": "365d"}, "must rise"),
        ({"retention": "9d", "retention_1min": "9d"}, "NEXUS_RETENTION_1MIN must be longer than 9d"),
        (
            {"retention": "9d", "retention_1min": "10d", "retention_1hour": "11d"},
            "NEXUS_RETENTION_1HOUR longer than 11d",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"NEXUS_{name.upper()}", value)
    with pytest.raises(ConfigError, match=re.escape(said)):
        load("production")


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
@pytest.mark.parametrize("role", ["nexus_writer", "nexus_reader"])
def test_status_tells_any_role_what_it_may_see(database: str, role: str) -> None:
    with connect(as_role(database, role)) as connection:
        rows, newest = status(connection)
    said = dict(rows)
    assert newest
    assert said["role"] == role
    assert said["migrations missing"] == "none"
    assert (said["topics"] == "this role may not see it") == (role == "nexus_writer")
    assert (said["rejects"] == "0") == (role == "nexus_reader")
    assert ("job merge_late" in said) == (said["tier"] == "community")


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["apache", "community"], indirect=True)
def test_status_says_how_many_locks_a_query_of_all_chunks_takes(database: str) -> None:
    insert(database, [(MIDNIGHT - timedelta(days=day), "dev/a/t", 1.0, None, 192, None) for day in range(3)])
    with connect(database) as connection:
        said = dict(status(connection)[0])["locks of a query without a time"]
        with connection.transaction():
            connection.execute("SELECT count(*) FROM metrics")
            taken = connection.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()").fetchone()
    assert said.startswith("6 of ")
    assert taken is not None
    assert 6 <= int(str(taken[0])) <= 12, "and some of its own"


def test_too_many_chunks_for_the_locks_are_said_with_the_remedy() -> None:
    assert locks(1_600, 100, 64) == "1600 of 6400"
    assert locks(1_604, 100, 64).endswith(
        "set max_locks_per_transaction to 65 and restart the server, or drop old chunks"
    )


def test_what_needs_the_owner_says_so(database: str) -> None:
    reader = as_role(database, "nexus_reader")
    with pytest.raises(ConfigError, match="this needs the database's owner"), connect(reader) as connection:
        connection.execute("INSERT INTO topics VALUES ('dev/a/t')")


def test_a_database_that_is_not_there_is_a_clear_error() -> None:
    absent = "postgresql://127.0.0.1:1/x"
    with pytest.raises(UnavailableError, match="NEXUS_DATABASE_URL: no connection"), connect(absent):
        pass


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
class TestCommunity:
    """What only TimescaleDB under its own licence has."""

    def test_rows_are_in_chunks_of_a_day(self, database: str) -> None:
        insert(database, [(MIDNIGHT - timedelta(days=d), "dev/a/t", 1.0, None, 192, None) for d in range(3)])
        with connect(database) as connection:
            assert tier(connection) == "community"
            found = connection.execute("SELECT count(*) FROM show_chunks('metrics')").fetchone()
            assert found == (3,)

    def test_jobs_compress_refresh_and_drop(self, database: str) -> None:
        with connect(database) as connection:
            jobs = set(
                connection.execute(
                    "SELECT proc_name, count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000 GROUP BY 1"
                )
            )
        assert jobs == {
            ("drop_old_records", 1),
            ("forget_committed", 1),
            ("merge_late", 1),
            ("compress_old_chunks", 1),
            ("drop_old_chunks", 1),
            ("policy_refresh_continuous_aggregate", 3),
        }

    def test_a_changed_age_alters_the_policy(self, database: str) -> None:
        with connect(database) as connection:
            migrate(connection, Settings(retention=30, compress_after=3))
            found = connection.execute(
                "SELECT config->>'metrics' FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks'"
            ).fetchall()
            assert found == [("30",)]

    def test_a_migration_leaves_jobs_as_they_are_but_for_the_ages_that_changed(self, database: str) -> None:
        jobs = (
            "SELECT job_id, schedule_interval, scheduled, config FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
        operators = timedelta(hours=5)
        with connect(database) as connection:
            connection.execute(
                "SELECT alter_job(job_id, schedule_interval => %s, scheduled => false)"
                " FROM timescaledb_information.jobs WHERE job_id >= 1000",
                (operators,),
            )
            before = {row[0]: row[1:] for row in connection.execute(jobs)}
            assert {row[:2] for row in before.values()} == {(operators, False)}
            migrate(connection, Settings())
            assert {row[0]: row[1:] for row in connection.execute(jobs)} == before
            migrate(connection, Settings(compress_after=6, retention_1day=2000, retention_audit=None))
            after = {row[0]: row[1:] for row in connection.execute(jobs)}
            assert {number: row[:2] for number, row in after.items()} == {
                number: row[:2] for number, row in before.items()
            }
            changed: list[Any] = [row[2] for number, row in after.items() if row != before[number]]
            assert sorted(str(config.get("compress_after", config.get("start_offset", ""))) for config in changed) == [
                *("", "", "10 days", "6 days", "7 days", "8 days")
            ]
            assert {"rejects": 90, "alarm_events": 730} in changed
            assert {"metrics": 90, "metrics_1min": 365, "metrics_1hour": 1825, "metrics_1day": 2000} in changed
            migrate(connection, Settings())
            assert {row[0]: row[1:] for row in connection.execute(jobs)} == after, "what is not given stays"
            back = Settings.model_validate(
                {"compress_after": "7d", "retention_1day": "never", "retention_audit": "730d"}
            )
            migrate(connection, back)
            assert {row[0]: row[1:] for row in connection.execute(jobs)} == before
            migrate(connection, Settings(retention=300, retention_1min=400))
            with pytest.raises(ConfigError, match=r"NEXUS_RETENTION, NEXUS_RETENTION_1MIN.*must rise"):
                migrate(connection, Settings(retention_1min=299))

    def test_old_chunks_are_compressed_and_stay_unique(self, database: str) -> None:
        row = (MIDNIGHT, "dev/a/t", 1.0, None, 192, None)
        insert(database, [row])
        with connect(database) as connection:
            [(chunk,)] = connection.execute("SELECT show_chunks('metrics')::text").fetchall()
            connection.execute(f"CALL convert_to_columnstore('{chunk}')")
            assert "1, of them 1 in the columnstore" in dict(status(connection)[0])["chunks"]
        with pytest.raises(psycopg.errors.UniqueViolation):
            insert(database, [row])

    def test_aggregates_refresh(self, database: str) -> None:
        insert(database, [(MIDNIGHT, "dev/a/t", 4.0, None, 192, None)])
        with connect(database) as connection:
            for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
                refresh(connection, view)
                connection.execute(f"ALTER MATERIALIZED VIEW {view} SET (timescaledb.materialized_only = true)")
                assert connection.execute(f"SELECT avg FROM {view}").fetchall() == [(4.0,)]
