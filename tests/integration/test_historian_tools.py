"""Rejects, backup and restore, late readings, and what `nexus db status` says of them."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from db.migrate import connect, migrate
from db.monitor import TASKS
from db.settings import Settings
from ingestion.consume.batch import Batch, Reject
from ingestion.store.database import DatabaseAwayError
from nexus.cli import embedded
from tests import forked
from tests.conftest import TIERS
from tests.integration.test_database import refresh
from tests.integration.test_writer import Content, query, series, write, write_batch
from tests.parts import Mosquitto, Nexus, Postgres, publish, until

tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)


def client_programs() -> str:
    """Where pg_dump is; the wheel of the embedded server brings one that is newer than any server here."""
    return str(embedded.programs())


def run(url: str, *arguments: str, programs: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    path = f"{programs or client_programs()}:{plain['PATH']}"
    keys = {f"NEXUS_{name.upper()}": value for name, value in environment.items()}
    environment = {**plain, "PATH": path, "NEXUS_DATABASE_URL": url, "NEXUS_ENVIRONMENT": "development", **keys}
    return forked.run(arguments, environment)


@tiers
def test_a_backup_is_restored_into_an_empty_database(database: str, tmp_path: Path) -> None:
    write(database, series(2000), [("dev/b/t", None, int(time.time() * 1000), "text", 0)])
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    before = query(database, "SELECT * FROM metrics ORDER BY topic, time")
    assert run(database, "db", "backup", str(tmp_path / "x.dump")).returncode == 0
    server = psycopg.conninfo.make_conninfo(database, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}_restored"')
    try:
        restored = psycopg.conninfo.make_conninfo(database, dbname=f"{name}_restored")
        done = run(restored, "db", "restore", str(tmp_path / "x.dump"))
        assert done.returncode == 0, done.stderr
        assert query(restored, "SELECT * FROM metrics ORDER BY topic, time") == before
        assert query(restored, "SELECT sum(count) FROM metrics_1hour") == [(2001,)]
        done = run(restored, "db", "migrate")
        assert "up to date" in done.stdout, done.stderr
        assert [written.duplicates for written in write(restored, series(2000))] == [2000]
        assert run(restored, "db", "status").returncode == 0
        assert "already" in run(restored, "db", "restore", str(tmp_path / "x.dump")).stderr
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}_restored" WITH (FORCE)')


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["apache", "community"], indirect=True)
def test_who_connects_during_a_restore_stores_nothing(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT timescaledb_pre_restore()")
        with pytest.raises(DatabaseAwayError, match="the database is being restored"):
            write(database, series(10))
        connection.execute("SELECT timescaledb_post_restore()")
    assert [written.rows for written in write(database, series(10))] == [10]


def test_a_restore_lets_nobody_in_before_it_is_done(postgres: Postgres, tmp_path: Path) -> None:
    programs = str(postgres.programs)
    with connect(postgres.url) as connection:
        migrate(connection, Settings(writer_password="of-the-writer"))
        connection.execute("CREATE DATABASE plant")
    assert run(postgres.url, "db", "backup", str(tmp_path / "x.dump"), programs=programs).returncode == 0
    plant = psycopg.conninfo.make_conninfo(postgres.url, dbname="plant")
    as_writer = psycopg.conninfo.make_conninfo(plant, user="nexus_writer")
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "pg_restore").write_text(f"""#!/bin/sh
case "$*" in *--list*) ;; *) touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done;; esac
exec {programs}/pg_restore "$@"
""")
    (slow / "pg_restore").chmod(0o755)
    with psycopg.connect(as_writer) as early, ThreadPoolExecutor() as beside:
        restoring = beside.submit(run, plant, "db", "restore", str(tmp_path / "x.dump"), programs=str(slow))
        try:
            until((tmp_path / "begun").exists, "it has begun", 30)
            with pytest.raises(psycopg.OperationalError):
                early.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(as_writer)
        finally:
            (tmp_path / "go").touch()
        done = restoring.result()
        early.close()
    assert done.returncode == 0, done.stderr
    assert [written.rows for written in write(as_writer, series(10))] == [10]


def test_a_backup_that_cannot_be_says_why(empty_database: str, tmp_path: Path) -> None:
    file = tmp_path / "x.dump"
    done = run(empty_database, "db", "backup", str(file))
    assert (done.returncode, "no historian" in done.stderr, file.exists()) == (2, True, False)
    file.write_bytes(b"not a dump")
    done = run(empty_database, "db", "restore", str(file))
    assert (done.returncode, "pg_restore" in done.stderr) == (2, True)


def test_a_backup_with_programs_older_than_the_server_says_the_remedy(database: str, tmp_path: Path) -> None:
    (tmp_path / "pg_dump").write_text(
        "#!/bin/sh\necho 'pg_dump: error: aborting because of server version mismatch' >&2\n"
        "echo 'pg_dump: detail: server version: 18.1; pg_dump version: 15.14' >&2\nexit 1\n"
    )
    (tmp_path / "pg_dump").chmod(0o755)
    done = run(database, "db", "backup", str(tmp_path / "x.dump"), programs=str(tmp_path))
    assert (done.returncode, "install PostgreSQL's client programs of its version" in done.stderr) == (2, True)


def test_a_backup_shows_its_password_to_nobody_and_its_file_to_its_owner(database: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    spy = programs / "pg_dump"
    spy.write_text(f"""#!/bin/sh
echo "$@" > {tmp_path}/arguments; echo "$PGPASSWORD" > {tmp_path}/password
exec {client_programs()}/pg_dump "$@"
""")
    spy.chmod(0o755)
    folder = tmp_path / "dumps"
    secret = psycopg.conninfo.make_conninfo(database, password="it's-secret")
    done = run(secret, "db", "backup", str(folder), "--keep", "2", programs=str(programs))
    assert done.returncode == 0, done.stderr
    [dump] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, dump.stat().st_mode & 0o777) == (0o700, 0o600)
    assert (tmp_path / "password").read_text() == "it's-secret\n"
    assert "secret" not in (tmp_path / "arguments").read_text()


def test_rejects_are_listed_tried_again_and_thrown_away(database: str, mosquitto, nexus) -> None:  # type: ignore[no-untyped-def]
    broker: Mosquitto = mosquitto()
    ingester: Nexus = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.1").until_ready()
    now = int(time.time() * 1000)
    messages = {
        "dev/legacy/a": b"21.5",
        "dev/legacy/b": b"true",
        "dev/x": b'{"ts":%d,"v":{"good":1,"a/b":2}}' % now,
        "dev/y": b"\xff\xfe",
    }
    for topic, payload in messages.items():
        publish(broker.port, topic, payload)
    until(lambda: query(database, "SELECT count(*) FROM rejects") == [(4,)], "the rejects are there")
    assert ingester.metric("nexus_ingestion_rejects_total") == 4
    listed = run(database, "rejects", "list", "--topic", "dev/legacy/*").stdout
    assert "dev/legacy/a" in listed
    assert "dev/x" not in listed
    assert listed.splitlines()[0] == "number  arrived  topic  reason  payload"
    assert "2 in all; by reason:" in listed
    assert "messages of another format need a decoder" in listed
    assert "contains '/'" in run(database, "rejects", "list", "--reason", "separates the levels").stdout
    table = json.dumps([{"topic": "dev/legacy/#", "decoder": "plain"}])
    assert run(database, "rejects", "retry").stdout == "0 stored, 4 still refused\n"
    assert run(database, "rejects", "retry", decoders=table).stdout == "2 stored, 2 still refused\n"
    found = query(database, "SELECT topic, value FROM metrics ORDER BY 1")
    assert found == [("dev/legacy/a", 21.5), ("dev/legacy/b", 1.0), ("dev/x/good", 1.0)]
    assert "choose which" in run(database, "rejects", "purge").stderr
    assert run(database, "rejects", "purge", "--older-than", "1h").stdout == "0 deleted\n"
    assert run(database, "rejects", "purge", "--topic", "dev/x*").stdout == "1 deleted\n"
    assert run(database, "rejects", "purge", "--all").stdout == "1 deleted\n"


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_an_old_reject_that_is_tried_again_reaches_the_aggregates(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER MATERIALIZED VIEW metrics_1day SET (timescaledb.materialized_only = true)")
        payload = json.dumps({"v": 1.5, "ts": int(time.time() * 1000) - 20 * 86_400_000}).encode()
        connection.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('dev/x/old', %s, 'x')", (payload,))
    assert run(database, "rejects", "retry").stdout == "1 stored, 0 still refused\n"
    aggregated = "SELECT avg FROM metrics_1day WHERE topic = 'dev/x/old'"
    until(lambda: query(database, aggregated) == [(1.5,)], "it is aggregated", 60)


def test_a_reject_that_is_not_kept_whole_says_so(database: str) -> None:
    payload = json.dumps({"v": "x" * 1_500_000, "ts": int(time.time() * 1000)}).encode()
    write_batch(database, Batch(rejects=[Reject("dev/a", payload, "no"), Reject("dev/b", b"x", "no")]))
    assert "cannot be tried again" in run(database, "rejects", "list", "--topic", "dev/a").stdout
    assert run(database, "rejects", "retry").stdout == (
        "0 stored, 2 still refused; 1 of them not kept whole, because they are over a megabyte\n"
    )


@pytest.mark.parametrize(
    ("empty_database", "older"),
    [
        ("plain", "ALTER TABLE backups RENAME COLUMN seconds TO lasted"),
        ("plain", "DROP TABLE backups"),
        pytest.param("community", "DROP FUNCTION job_states", marks=pytest.mark.timescale),
    ],
    indirect=["empty_database"],
)
def test_the_monitor_says_what_an_older_schema_lacks_and_the_remedy(
    database: str, older: str, nexus: Callable[..., Nexus]
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(older.encode())
    monitor = nexus("db", "monitor", database_url=database)
    until(lambda: "does not exist: run `nexus db migrate`" in monitor.get("/ready")[1], "the remedy is said")


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'not now'; END$$;
CREATE TRIGGER refuse BEFORE {event} FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize(
    ("code", "event", "said"),
    [
        ("disk_full", "INSERT ON metrics", "not now"),  # as is any outage
        ("raise_exception", "DELETE ON rejects", "0 stored, 2 still refused"),
    ],
)
def test_a_retry_that_fails_leaves_rejects_and_table_as_they_were(
    database: str, code: str, event: str, said: str
) -> None:
    now = int(time.time() * 1000)
    rejects = [Reject(f"dev/{name}", b'{"v":1.5,"ts":%d}' % now, "no", publisher="0f" * 16) for name in "ab"]
    write_batch(database, Batch(rejects=rejects))
    before = query(database, "SELECT * FROM rejects WHERE key IS NOT NULL ORDER BY id")
    assert len(before) == 2
    with psycopg.connect(database) as connection:
        connection.execute(REFUSING.format(code=code, event=event).encode())
    done = run(database, "rejects", "retry")
    assert said in done.stdout + done.stderr
    assert query(database, "SELECT * FROM rejects ORDER BY id") == before
    assert query(database, "SELECT (SELECT count(*) FROM metrics), (SELECT count(*) FROM topics)") == [(0, 0)]
    with psycopg.connect(database) as connection:
        connection.execute("DROP FUNCTION refuse CASCADE")
    assert run(database, "rejects", "retry").stdout == "2 stored, 0 still refused\n"
    assert query(database, "SELECT topic FROM topics ORDER BY 1") == [("dev/a",), ("dev/b",)]


@tiers
def test_old_rejects_are_dropped(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO rejects (topic, payload, reason, time) SELECT 'x', '', 'y', now() - age"
            " FROM unnest(ARRAY[interval '5 days', interval '15 days']) AS age"
        )
    assert run(database, "db", "migrate", retention_rejects="10d").returncode == 0
    # TimescaleDB's scheduler runs the job by itself; elsewhere the migration has done it.
    until(lambda: query(database, "SELECT count(*) FROM rejects") == [(1,)], "the older one is gone", 60)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_late_rows_come_home_and_the_touched_buckets_are_refreshed(database: str) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
    start = int(day.timestamp() * 1000)
    on_time: list[Content] = [("dev/a/t", None, start + at * 60_000, 1.0, 192) for at in range(600)]
    write(database, on_time)
    with connect(database) as connection:
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics') c")
        for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
            refresh(connection, view)
            connection.execute(f"ALTER MATERIALIZED VIEW {view} SET (timescaledb.materialized_only = true)".encode())
    touched = [at * 60_000 + 30_000 for at in (5, 6, 7, 300)]
    late = [("dev/a/t", None, start + at, 3.0, 192) for at in touched]
    repeated = on_time[:50]
    assert [written.rows for written in write(database, series(10, "dev/c/t"), late=[*late, *repeated, *late])] == [
        10 + 58
    ]
    until(lambda: query(database, "SELECT count(*) FROM metrics_late") == [(0,)], "they are moved", 60)
    until(lambda: query(database, "SELECT count(*) FROM late_hours") == [(0,)], "buckets are refreshed", 60)
    assert query(database, "SELECT count(*) FROM metrics WHERE topic = 'dev/a/t' AND value IN (1, 3)") == [(604,)]
    minutes = query(database, "SELECT bucket, count FROM metrics_1min WHERE topic = 'dev/a/t' AND avg = 2 ORDER BY 1")
    assert minutes == [(day + timedelta(milliseconds=at - 30_000), 2) for at in touched]
    assert query(database, "SELECT count FROM metrics_1hour WHERE topic = 'dev/a/t' ORDER BY bucket LIMIT 1") == [(63,)]
    assert query(database, "SELECT count FROM metrics_1day WHERE topic = 'dev/a/t' ORDER BY bucket LIMIT 1") == [(604,)]
    status = run(database, "db", "status").stdout
    assert "job merge_late" in status
    assert "to 1" in status


@tiers
def test_old_readings_reach_the_table_and_the_aggregates_wherever_they_are_late(
    database: str,
    mosquitto: Callable[..., Mosquitto],
    nexus: Callable[..., Nexus],
) -> None:
    broker = mosquitto()
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.1").until_ready()
    at = int(time.time() * 1000) - 20 * 86_400_000
    whole = {"ts": at, "v": {"old": 1.5, "new": 2.5}, "t": {"new": at + 20 * 86_400_000}}
    publish(broker.port, "dev/x", json.dumps(whole).encode())
    until(lambda: query(database, "SELECT count(*) FROM metrics") == [(2,)], "both are there", 60)
    until(
        lambda: query(database, "SELECT avg FROM metrics_1day WHERE topic = 'dev/x/old'") == [(1.5,)], "aggregated", 60
    )
    community = query(database, "SELECT tier FROM nexus_migrations LIMIT 1") == [("community",)]
    assert ingester.metric("nexus_ingestion_late_rows_total") == community, "the first batch too"


@tiers
def test_a_folder_keeps_the_newest_backups_and_the_monitor_tells_their_age(
    database: str, tmp_path: Path, nexus: Callable[..., Nexus]
) -> None:
    write(database, series(100))
    monitor = nexus("db", "monitor", database_url=database).until_ready()
    assert monitor.metric("nexus_database_backup_timestamp_seconds") == 0
    old = [tmp_path / f"nexus-2020010{day}T000000Z.dump" for day in (1, 2, 3)]
    for file in old:
        file.touch()
    (tmp_path / "other.dump").touch()
    abandoned, growing = tmp_path / "nexus-1.dump.part", tmp_path / "nexus-2.dump.part"
    for part, age in ((abandoned, 7200), (growing, 60)):
        part.touch()
        os.utime(part, (time.time() - age, time.time() - age))
    done = run(database, "db", "backup", str(tmp_path), "--keep", "2")
    assert done.returncode == 0, done.stderr
    left = sorted(file.name for file in tmp_path.glob("*.dump"))
    assert (left[0], len(left), left[-1]) == ("nexus-20200103T000000Z.dump", 3, "other.dump")
    assert (abandoned.exists(), growing.exists()) == (False, True)
    assert query(database, "SELECT bytes > 1000, seconds > 0, file LIKE '%.dump' FROM backups") == [(True, True, True)]
    monitor.stop()
    monitor.restart()
    monitor.until_ready()
    assert time.time() - monitor.metric("nexus_database_backup_timestamp_seconds") < 60
    assert monitor.metric("nexus_database_topics") > 0
    assert monitor.metric("nexus_database_size_bytes") > 100_000
    community = query(database, "SELECT tier FROM nexus_migrations LIMIT 1") == [("community",)]
    assert (monitor.metric("nexus_database_chunks") > 0) == community
    page = monitor.get("/metrics")[1]
    failing = [f'nexus_database_job_failed{{task="{task}"}} 0.0' in page for task in TASKS]
    assert failing == [community] * len(TASKS)
    assert monitor.metric("nexus_database_rejects_bytes") > 0
    for name in ("chunks_overdue", "chunks_misplaced", "retention_overdue_seconds", "days_not_rolled_up"):
        assert monitor.metric(f"nexus_database_{name}") == 0
    assert run(database, "db", "backup", str(tmp_path / "other.dump"), "--keep", "2").returncode == 2


def test_the_monitor_says_when_the_database_is_away(postgres: Postgres, nexus: Callable[..., Nexus]) -> None:
    monitor = nexus("db", "monitor", database_url=postgres.url).until_ready()
    assert monitor.metric("nexus_database_up") == 1
    postgres.stop("fast")
    until(lambda: monitor.metric("nexus_database_up") == 0, "it is noticed", 40)
    code, page = monitor.get("/ready")
    assert (code, "the database: " in page) == (503, True)
    postgres.start()
    until(lambda: monitor.metric("nexus_database_up") == 1, "it is back", 40)


def test_a_migration_waits_for_a_database_that_starts(postgres: Postgres, nexus: Callable[..., Nexus]) -> None:
    postgres.stop("fast")
    assert "no connection" in run(postgres.url, "db", "migrate").stderr
    waiting = nexus("db", "migrate", "--wait", "60", database_url=postgres.url)
    time.sleep(1)
    waiting.ended()
    postgres.start()
    assert waiting.process.wait(30) == 0, waiting.log.read_text()
