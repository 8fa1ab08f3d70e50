"""Rollups that lose nothing: what is loaded, late, dropped, or at the edge of what the policies refresh."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from db.migrate import connect, migrate
from db.settings import Settings
from nexus.contract import codec
from nexus.contract.codec import Point
from tests.integration.test_historian_tools import run
from tests.parts import as_role, until

pytestmark = [pytest.mark.timescale, pytest.mark.parametrize("empty_database", ["community"], indirect=True)]

VIEWS: tuple[LiteralString, ...] = ("metrics_1min", "metrics_1hour", "metrics_1day")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def rest(url: str) -> None:
    """From here on only what a test calls is done: the scheduler's jobs have had their first run, and have no second."""
    ran = "SELECT count(*) FROM timescaledb_information.job_stats WHERE job_id >= 1000 AND last_run_status IS NULL"
    until(lambda: query(url, ran) == [(0,)], "the first runs are over", 60)
    query(url, "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    busy = "SELECT count(*) FROM timescaledb_information.job_stats WHERE job_id >= 1000 AND job_status = 'Running'"
    until(lambda: query(url, busy) == [(0,)], "nothing runs", 60)
    for view in VIEWS:
        query(url, f"ALTER MATERIALIZED VIEW {view} SET (timescaledb.materialized_only = true)")


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def load(url: str, first: datetime, days: int, step: str = "10 minutes") -> int:
    """As a person does: by SQL, beside the ingester, and so that `topics` knows nothing of it."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "INSERT INTO metrics SELECT t, 'dev/loaded/t', 1, NULL, 192, NULL"
            " FROM generate_series(%s, %s - interval '1 second', %s::interval) AS t",
            (first, first + timedelta(days=days), step),
        ).rowcount


def policies(url: str) -> None:
    """Each once, as the scheduler would."""
    for (job,) in query(
        url,
        "SELECT job_id FROM timescaledb_information.jobs j WHERE proc_name LIKE 'policy_refresh%' ORDER BY job_id",
    ):
        query(url, f"CALL run_job({job})")


def record_touched(url: str) -> None:
    """In a table `seen`: what merging has noted to compute again."""
    query(url, "CREATE TABLE seen AS SELECT * FROM late_hours")
    query(
        url,
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO seen SELECT (NEW).*; RETURN NEW; END$$",
    )
    query(url, "CREATE TRIGGER see AFTER INSERT ON late_hours FOR EACH ROW EXECUTE FUNCTION see()")


def materialized(url: str, view: str) -> str:
    """The table behind a rollup."""
    [(table,)] = query(
        url,
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
        f" FROM timescaledb_information.continuous_aggregates WHERE view_name = '{view}'",
    )
    return str(table)


def counts(url: str) -> list[int]:
    return [int(query(url, f"SELECT coalesce(sum(count), 0) FROM {view}")[0][0]) for view in VIEWS]


def test_history_that_was_loaded_is_brought_into_rollups_and_topics(empty_database: str) -> None:
    with connect(empty_database) as connection:
        migrate(connection, Settings())
    rest(empty_database)
    rows = load(empty_database, TODAY - timedelta(days=30), 25)
    policies(empty_database)
    assert counts(empty_database)[0] < rows, "the policies reach all of it, and this test shows nothing"
    assert query(empty_database, "SELECT count(*) FROM topics") == [(0,)]
    status = run(empty_database, "db", "status").stdout
    assert "nexus db refresh" in status
    done = run(empty_database, "db", "refresh")
    assert done.returncode == 0, done.stderr
    assert counts(empty_database) == [rows] * 3
    assert query(empty_database, "SELECT topic FROM topics") == [("dev/loaded/t",)]
    assert "0 of 25 days" in run(empty_database, "db", "refresh").stdout
    assert "nexus db refresh" not in run(empty_database, "db", "status").stdout


def test_what_retention_has_dropped_is_not_refreshed_away(database: str) -> None:
    rest(database)
    day = TODAY - timedelta(days=40)
    rows = load(database, day, 1)
    assert run(database, "db", "refresh").returncode == 0
    query(database, f"SELECT drop_chunks('metrics', older_than => '{day + timedelta(days=1)}'::timestamptz)")
    load(database, day, 1, "12 hours")
    assert "0 of 1 days" in run(database, "db", "refresh").stdout
    assert counts(database) == [rows] * 3


def test_old_chunks_are_dropped_a_few_a_transaction_and_only_when_they_are_in_the_rollups(database: str) -> None:
    rest(database)
    rows = load(database, TODAY - timedelta(days=200), 60, "6 hours")
    chunks = "SELECT count(*) FROM show_chunks('metrics')"
    assert query(database, chunks) == [(60,)]
    [(newest,)] = query(
        database,
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'metrics' ORDER BY range_end DESC LIMIT 1",
    )
    [(job, config)] = query(
        database, "SELECT job_id, config FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks'"
    )
    assert config == {"metrics": 90, "metrics_1min": 365, "metrics_1hour": 1825}
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as connection:
        other.execute(f"LOCK TABLE {newest} IN ACCESS SHARE MODE".encode())
        connection.execute("SET lock_timeout = '2s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(f"CALL run_job({job})".encode())
    assert 0 < query(database, chunks)[0][0] <= 20, "the first steps were not committed"
    query(database, f"CALL run_job({job})")
    assert query(database, chunks) == [(0,)]
    assert counts(database) == [rows] * 3


def test_a_row_that_is_just_on_time_is_refreshed_even_when_the_policy_is_late(database: str) -> None:
    rest(database)
    [(border,)] = query(database, "SELECT late_before()")
    topics = {"edge": border + timedelta(seconds=1), "later": border - timedelta(hours=20)}
    with psycopg.connect(database) as connection:
        for topic, at in topics.items():  # the second: written on time, 20 hours before the policy runs again
            connection.execute("INSERT INTO metrics VALUES (%s, %s, 1, NULL, 192, NULL)", (at, f"dev/{topic}/t"))
    policies(database)
    for view in VIEWS:
        assert query(database, f"SELECT topic FROM {view} ORDER BY 1") == [("dev/edge/t",), ("dev/later/t",)]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Europe/Berlin"])
def test_a_sparse_backlog_is_in_the_rollups_once_it_is_merged(database: str, zone: str) -> None:
    rest(database)
    name = query(database, "SELECT current_database()")[0][0]
    query(database, f"ALTER DATABASE {name} SET timezone = '{zone}'")
    first = TODAY - timedelta(days=60)  # over the end of summer time
    load(database, first, 30, "7 hours")
    query(database, "SELECT compress_chunk(c) FROM show_chunks('metrics') c")
    run(database, "db", "refresh")
    with psycopg.connect(database) as connection:
        late = connection.execute(
            "INSERT INTO metrics_late SELECT t, 'dev/late/t', 2, NULL, 192, NULL"
            " FROM generate_series(%s, %s, interval '10 minutes') AS t",
            (first + timedelta(seconds=30), first + timedelta(days=30, seconds=-1)),
        ).rowcount
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics_late") == [(0,)]
    for view in VIEWS:
        assert query(database, f"SELECT sum(count) FROM {view} WHERE topic = 'dev/late/t'") == [(late,)]
    differing = """
        SELECT count(*) FROM metrics_1day a FULL JOIN (
            SELECT time_bucket('1 day', time) AS bucket, topic, count(*) FROM metrics GROUP BY 1, 2
        ) b USING (bucket, topic) WHERE a.count IS DISTINCT FROM b.count"""
    assert query(database, differing) == [(0,)]


def test_late_rows_have_only_their_own_topics_rollups_computed_again(database: str) -> None:
    rest(database)
    day = TODAY - timedelta(days=20)
    load(database, day, 1, "1 minute")
    query(database, "INSERT INTO metrics SELECT time, 'dev/late/t', value, NULL, 192, NULL FROM metrics")
    query(database, "SELECT compress_chunk(c) FROM show_chunks('metrics') c")
    run(database, "db", "refresh")
    versions = f"SELECT topic, bucket, xmin::text FROM {materialized(database, 'metrics_1min')} ORDER BY 1, 2"
    before = set(query(database, versions))
    with psycopg.connect(database) as connection:
        for hour in (9, 9, 11):
            connection.execute(
                "INSERT INTO metrics_late VALUES (%s, 'dev/late/t', 3, NULL, 192, NULL)",
                (day + timedelta(hours=hour, seconds=1),),
            )
    query(database, "CALL merge_late()")
    written = {(topic, bucket) for topic, bucket, _ in set(query(database, versions)) - before}
    assert written == {("dev/late/t", day + timedelta(hours=9, minutes=minute)) for minute in range(180)}
    for view in VIEWS:
        [found] = query(database, f"SELECT sum(count), sum(sum), max(max) FROM {view} WHERE topic = 'dev/late/t'")
        assert found == (1442, 1446, 3)


def test_a_late_row_takes_nothing_out_of_rollups_whose_readings_are_dropped(database: str) -> None:
    rest(database)
    day = TODAY - timedelta(days=40)
    rows = load(database, day, 1, "1 minute")
    assert run(database, "db", "refresh").returncode == 0
    query(database, f"SELECT drop_chunks('metrics', older_than => '{day + timedelta(days=1)}'::timestamptz)")
    late = f"'{day + timedelta(hours=13, seconds=3)}', 'dev/loaded/t', 5, NULL, 192, NULL"
    query(database, f"INSERT INTO metrics_late (time, topic, value, value_str, quality, unit) VALUES ({late})")
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics") == [(1,)]
    assert counts(database) == [rows] * 3


def test_a_refresh_and_the_merging_of_late_rows_at_once_make_no_bucket_twice(database: str) -> None:
    rest(database)
    day = TODAY - timedelta(days=20)
    load(database, day, 1)
    refresh = f"CALL refresh_continuous_aggregate('metrics_1min', '{day}', '{day + timedelta(days=1)}')"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database) as merging:
        merging.execute(
            "SELECT refresh_topics('metrics_1min', '{dev/loaded/t}', %s, %s)", (day, day + timedelta(days=1))
        )
        refreshing = pool.submit(query, database, refresh)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "
        waiting += "(SELECT oid FROM pg_database WHERE datname = current_database())"
        until(lambda: query(database, waiting) != [(0,)], "the refresh waits", 60)
        merging.commit()
        refreshing.result()
    assert query(database, "SELECT count(*), sum(count) FROM metrics_1min") == [(144, 144)]


def test_a_job_whose_work_is_committed_has_not_failed(database: str) -> None:
    said = {"harmless": 'cannot drop portal "" while it is being set up', "broken": "no space left"}
    for name, message in said.items():
        query(
            database,
            f"CREATE PROCEDURE {name}(job_id int, config jsonb) LANGUAGE plpgsql AS"
            f" $$BEGIN RAISE EXCEPTION '{message}'; END$$",
        )
        query(database, f"SELECT add_job('{name}', INTERVAL '1 hour')")
    states = "SELECT failed, finished IS NOT NULL, failures FROM job_states() WHERE task = '{}'"
    until(lambda: query(database, states.format("broken")) == [(True, False, 1)], "one has failed", 60)
    until(lambda: query(database, states.format("harmless")) == [(False, True, 0)], "the other has not", 60)
    as_reader = as_role(database, "nexus_reader")
    assert query(as_reader, "SELECT task FROM job_states() WHERE failed") == [("broken",)]


def test_late_rows_that_contradict_what_is_stored_are_set_aside(database: str) -> None:
    rest(database)
    day = TODAY - timedelta(days=30)
    load(database, day, 1, "1 minute")
    query(database, "SELECT compress_chunk(c) FROM show_chunks('metrics') AS c")
    late = [
        (0, "dev/loaded/t", 1.0, None),  # a repetition
        (1, "dev/loaded/t", 2.5, None),
        (2, "dev/loaded/t", None, "x"),
        (3, "dev/loaded/t", 2.0**60, str(2**60)),
        (4, "dev/new/t", 1.0, None),
        (4, "dev/new/t", 2.0, None),  # one of them contradicts the other
        (5, "dev/new/t", 1.0, None),
    ]
    with psycopg.connect(as_role(database, "nexus_writer")) as connection:
        for minute, topic, value, text in late:
            connection.execute(
                "INSERT INTO metrics_late VALUES (%s, %s, %s, %s, 192, %s)",
                (day + timedelta(minutes=minute), topic, value, text, "V" if text == "x" else None),
            )
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics WHERE topic = 'dev/new/t'") == [(2,)]
    assert query(database, "SELECT count(*) FROM metrics WHERE value <> 1") in ([(0,)], [(1,)])
    found = query(database, "SELECT topic, payload, reason, tags FROM rejects ORDER BY topic, id")
    assert [topic for topic, *_ in found] == ["dev/loaded/t"] * 3 + ["dev/new/t"]
    assert {(reason, *tags) for _, _, reason, tags in found} == {
        ("the same topic has another value at the same time already",)
    }
    assert [codec.decode(topic, bytes(payload)).points[0] for topic, payload, *_ in found[:3]] == [
        Point("dev/loaded/t", int(day.timestamp() * 1000) + minute * 60_000, value, 192, unit)
        for minute, value, unit in ((1, 2.5, None), (2, "x", "V"), (3, 2**60, None))
    ]


def test_a_time_that_no_bucket_can_have_does_not_stop_the_merging(database: str) -> None:
    with psycopg.connect(as_role(database, "nexus_writer"), autocommit=True) as connection:
        for time_ in ("infinity", "-infinity", "0044-03-15 BC"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute("INSERT INTO metrics_late VALUES (%s, 'dev/x', 1, NULL, 192, NULL)", (time_,))


def test_a_topic_that_the_index_cannot_hold_does_not_stop_the_merging(database: str) -> None:
    rest(database)  # first: a day that old is dropped once it is in the rollups
    with psycopg.connect(as_role(database, "nexus_writer"), autocommit=True) as connection:
        insert = "INSERT INTO metrics_late VALUES ('2026-01-01 00:00+00', %s, 1, NULL, 192, NULL)"
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(insert, (secrets.token_hex(4_800),))
        connection.execute(insert, (secrets.token_hex(1_000),))
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics_late") == [(0,)]
    assert query(database, "SELECT count(*) FROM metrics") == [(1,)]


def test_late_rows_that_the_table_refuses_are_set_aside_and_the_others_merged(database: str) -> None:
    rest(database)
    query(database, "ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    with psycopg.connect(as_role(database, "nexus_writer")) as connection:
        for number in range(200):
            connection.execute(
                "INSERT INTO metrics_late VALUES (%s, 'dev/a/t', %s, NULL, 192, 'V')",
                (TODAY - timedelta(days=30, minutes=number), 13 if number in {50, 120, 199} else 1),
            )
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics_late") == [(0,)]
    assert query(database, "SELECT count(*) FROM metrics") == [(197,)]
    assert query(database, "SELECT sum(count)::int FROM metrics_1day") == [(197,)]
    is_said = "reason LIKE 'the database refused the late row: new row%'"
    found = query(database, f"SELECT topic, payload, {is_said}, tags FROM rejects")
    assert [(topic, is_said, tags) for topic, _, is_said, tags in found] == [("dev/a/t", True, [])] * 3
    assert {codec.decode("dev/a/t", bytes(payload)).points[0].value for _, payload, *_ in found} == {13.0}


def test_the_late_row_that_is_refused_is_the_one_that_is_set_aside(database: str) -> None:
    rest(database)
    query(database, "ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    day = TODAY - timedelta(days=30)
    late = """
        INSERT INTO metrics_late
        SELECT %s + at * interval '1 second', %s, %s, NULL, 192, NULL
        FROM generate_series(1, %s) AS n, LATERAL (SELECT {}) AS mixed (at)"""
    with psycopg.connect(as_role(database, "nexus_writer")) as connection:
        halfway = late.format("43200 + n")  # in the index; on the heap they are the first
        connection.execute(halfway.encode(), (day, "dev/bad/t", 13, 8))
        connection.execute(late.format("10 * (n * 919 %% 8000)").encode(), (day, "dev/good/t", 1, 8_000))
    query(database, "VACUUM ANALYZE metrics_late")  # as autovacuum does: index or heap, each query is planned by itself
    query(database, "CALL merge_late()")
    assert query(database, "SELECT topic, count(*) FROM rejects GROUP BY 1") == [("dev/bad/t", 8)]
    assert query(database, "SELECT topic, count(*) FROM metrics GROUP BY 1") == [("dev/good/t", 8_000)]
    assert query(database, "SELECT sum(count)::int FROM metrics_1day") == [(8_000,)]


def test_a_late_row_that_is_refused_twice_is_one_reject_and_nothing_to_refresh(database: str) -> None:
    rest(database)
    query(database, "ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    record_touched(database)
    for _ in range(2):
        query(database, "INSERT INTO metrics_late VALUES ('2026-11-01 00:00+00', 'dev/bad/t', 13, NULL, 192, NULL)")
        query(database, "CALL merge_late()")
    assert query(database, "SELECT topic FROM rejects") == [("dev/bad/t",)]
    assert query(database, "SELECT count(*) FROM seen") == [(0,)]


def test_late_rows_refused_beyond_the_quota_wait_and_the_job_fails_once_the_others_are_merged(database: str) -> None:
    rest(database)
    query(database, "ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    query(
        database,
        "INSERT INTO rejects (topic, payload, reason)"
        " SELECT 'dev/bad/t', '', 'the database refused the late row: ' || n FROM generate_series(1, 100000) AS n",
    )
    with psycopg.connect(as_role(database, "nexus_writer")) as connection:
        for days, value in ((40, 1), (30, 13), (20, 1)):
            connection.execute(
                "INSERT INTO metrics_late VALUES (%s, 'dev/a/t', %s, NULL, 192, NULL)",
                (TODAY - timedelta(days=days), value),
            )
    with pytest.raises(psycopg.errors.RaiseException, match="refuses more than 100,000 late rows a day"):
        query(database, "CALL merge_late()")
    assert query(database, "SELECT value FROM metrics_late") == [(13,)]
    assert query(database, "SELECT sum(count)::int FROM metrics_1day") == [(2,)]
    query(database, "UPDATE rejects SET time = time - interval '25 hours'")
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics_late") == [(0,)]
    assert query(database, "SELECT topic FROM rejects WHERE payload <> ''") == [("dev/a/t",)]


def test_a_text_that_no_reject_can_hold_does_not_stop_the_merging(database: str) -> None:
    rest(database)
    huge = "INSERT INTO metrics_late SELECT '2026-11-01 00:00+00', 'dev/big', NULL, {}, 192, {}"
    digits = "repeat('0123456789', 27000000)"  # of 270 MB, 3 MB compressed
    for value, unit in ((digits, "NULL"), ("NULL", digits)):
        with pytest.raises(psycopg.errors.CheckViolation):
            query(as_role(database, "nexus_writer"), huge.format(value, unit))
    query(database, "ALTER TABLE metrics_late DROP CONSTRAINT metrics_late_check")  # as rows of before have none
    query(database, "INSERT INTO metrics VALUES ('2026-11-01 00:00+00', 'dev/big', NULL, 'x', 192, NULL)")
    query(database, huge.format(digits, "NULL"))
    query(database, "INSERT INTO metrics_late VALUES ('2026-11-01 00:00+00', 'dev/honest', 1, NULL, 192, NULL)")
    query(database, "CALL merge_late()")
    assert query(database, "SELECT count(*) FROM metrics_late") == [(0,)]
    assert query(database, "SELECT topic FROM metrics ORDER BY 1") == [("dev/big",), ("dev/honest",)]
    assert query(database, "SELECT topic, length(payload) FROM rejects") == [("dev/big", 1_000_000)]
