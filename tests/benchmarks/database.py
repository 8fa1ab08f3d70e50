"""What the database takes for less usual things: late and refused rows, last values, backup, compression. Prints JSON.

    NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.database [CASE …] [--rows N]

The server is TimescaleDB Community if the figures are to mean something. Compare ratios of one run, not figures of two.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from db.backup import backup, restore
from db.migrate import connect, migrate
from db.settings import Settings as DatabaseSettings
from ingestion.consume.batch import Batch
from ingestion.decode.rows import Encoder, Rows, Window
from ingestion.store.exact import ExactInsert
from ingestion.store.writer import Writer
from nexus.contract.codec import Message

TOPICS = 1_000
# A plant's values: most change a little, some hardly ever.
_FILL = """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT t, 'dev/plant/line' || d %% 10 || '/plc' || d / 10 || '/t',
       CASE d %% 4 WHEN 0 THEN round((50 + 20 * sin(extract(epoch FROM t) / 600 + d) + random())::numeric, 2)
                  WHEN 1 THEN floor(extract(epoch FROM t) / 10) WHEN 2 THEN (extract(epoch FROM t)::bigint / 3600) %% 2
                  ELSE 20 + random() END,
       192, '°C'
FROM generate_series(%(begin)s::timestamptz, %(end)s::timestamptz, make_interval(secs => %(step)s)) t, generate_series(0, %(topics)s - 1) d
"""


@contextmanager
def database(mode: Literal["exact", "bulk"] = "exact") -> Iterator[str]:
    """A new database with the newest schema."""
    server, name = os.environ["NEXUS_TEST_DATABASE_URL"], f"nexus_bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        url = make_conninfo(server, dbname=name)
        with connect(url) as connection:
            migrate(connection, DatabaseSettings(ingest_mode=mode))
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def late(_: argparse.Namespace) -> dict[str, Any]:
    """A batch for a compressed chunk against a fresh one: the pipeline's write of each, in ms."""
    with database() as url:
        day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO metrics (time, topic, value, quality) SELECT t, 'dev/d' || d || '/t', d, 192"
                " FROM generate_series(%s::timestamptz, %s::timestamptz + interval '1 day', interval '30 s') t,"
                " generate_series(0, 999) d",
                (day, day),
            )
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics') c")
        return asyncio.run(_late(url, int(day.timestamp() * 1000)))


async def _late(url: str, day: int) -> dict[str, Any]:
    encoder, found = Encoder(), {}

    def batch(count: int, start: int) -> Rows:
        rows = Rows()
        for number in range(count):
            message = Message(f"dev/d{number % 1000}/t", start + number // 1000 * 30_000, {"": 1.0})
            encoder.encode(message, Window(0, 0, 2**50), rows, Rows())
        return rows

    async with Writer(url, ExactInsert()) as writer:
        for count in (100, 5_000, 50_000):
            times: dict[str, list[float]] = {"fresh": [], "late": []}
            for turn in range(9):
                now = int(time.time() * 1000)
                for kind, rows in (
                    ("fresh", (batch(count, now), Rows())),
                    ("late", (Rows(), batch(count, day + turn * 61_001))),
                ):
                    began = time.monotonic()
                    await writer.write(Batch(*rows))
                    times[kind].append((time.monotonic() - began) * 1000)
            fresh, behind = (statistics.median(times[kind][1:]) for kind in ("fresh", "late"))
            found[str(count)] = {
                "fresh_ms": round(fresh, 1),
                "late_ms": round(behind, 1),
                "ratio": round(behind / fresh, 2),
            }
    return found


def merge(_: argparse.Namespace) -> dict[str, Any]:
    """Merging a reading every ten minutes of one tag in a plant of 500: rows a second, with and without the rollups."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
        end = day + timedelta(days=3, seconds=-1)
        connection.execute(_FILL, {"begin": day, "end": end, "step": 20, "topics": 500})
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics') c")
        for view in ("metrics_1min", "metrics_1hour", "metrics_1day"):
            connection.execute("CALL refresh_range(%s, %s, %s, 1440)", (view, day, end + timedelta(seconds=1)))
        rows = "SELECT t, %s, 2, NULL, 192, NULL FROM generate_series(%s, %s, interval '10 minutes') t"
        found = {"rows": 0, "floor_rows_s": 0, "merged_rows_s": 0}
        for turn in range(5):  # the fastest counts
            began = time.monotonic()
            written = connection.execute(
                f"INSERT INTO metrics {rows} ON CONFLICT DO NOTHING".encode(), (f"dev/floor/{turn}", day, end)
            ).rowcount
            floor = written / (time.monotonic() - began)
            connection.execute(f"INSERT INTO metrics_late {rows}".encode(), (f"dev/late/{turn}", day, end))
            began = time.monotonic()
            connection.execute("CALL merge_late()")
            merged = written / (time.monotonic() - began)
            found["rows"] = written
            found["floor_rows_s"] = max(found["floor_rows_s"], round(floor))
            found["merged_rows_s"] = max(found["merged_rows_s"], round(merged))
        return found


def rejects(_: argparse.Namespace) -> dict[str, Any]:
    """5,000 rows of which the database refuses one, against 5,000 good ones: the pipeline's write of each, in ms."""
    with database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
        return asyncio.run(_rejects(url))


async def _rejects(url: str) -> dict[str, Any]:
    encoder = Encoder()
    times: dict[str, list[float]] = {"good": [], "one_bad": []}
    async with Writer(url, ExactInsert()) as writer:
        for turn in range(20):
            for kind, found in times.items():
                rows, now = Rows(), int(time.time() * 1000) + turn
                for number in range(5_000):
                    value = 13.0 if kind == "one_bad" and number == 2_345 else 1.0
                    message = Message(f"dev/d{number % TOPICS}/t", now + number // TOPICS, {"": value})
                    encoder.encode(message, Window(0, 0, 2**50), rows, Rows())
                began = time.monotonic()
                written = await writer.write(Batch(rows))
                found.append((time.monotonic() - began) * 1000)
                assert (written.rows, written.rejects) == ((5_000, 0) if kind == "good" else (4_999, 1))
    return {f"{kind}_ms": round(statistics.median(found), 1) for kind, found in times.items()}


@contextmanager
def _filled(count: int, step: int = 1) -> Iterator[str]:
    """A database with so many rows of TOPICS topics, every `step` seconds, from ten days ago on, not compressed."""
    with database() as url:
        begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
        end = begin + timedelta(seconds=(count // TOPICS - 1) * step)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FILL, {"begin": begin, "end": end, "step": step, "topics": TOPICS})
            connection.execute("INSERT INTO topics SELECT DISTINCT topic FROM metrics ON CONFLICT DO NOTHING")
            connection.execute("VACUUM ANALYZE metrics")
        yield url


def latest(arguments: argparse.Namespace) -> dict[str, Any]:
    """The last value of one topic, and of all, out of `metrics_latest`; of all by DISTINCT ON beside it. In ms."""
    with _filled(arguments.rows) as url, psycopg.connect(url) as connection:
        return {
            name: round(_median(connection, query), 2)
            for name, query in (
                ("one_topic_ms", "SELECT * FROM metrics_latest WHERE topic = 'dev/plant/line3/plc33/t'"),
                ("all_topics_ms", "SELECT * FROM metrics_latest"),
                ("all_distinct_on_ms", "SELECT DISTINCT ON (topic) * FROM metrics ORDER BY topic, time DESC"),
            )
        }


def _median(connection: psycopg.Connection[Any], query: str) -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        connection.execute(query.encode()).fetchall()
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def compression(arguments: argparse.Namespace) -> dict[str, Any]:
    """Bytes a row, with its indexes: as written, and in the columnstore."""
    with _filled(arguments.rows) as url, psycopg.connect(url, autocommit=True) as connection:
        before = _bytes_a_row(connection)
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics') c")
        return {"written": before, "compressed": _bytes_a_row(connection)}


def _bytes_a_row(connection: psycopg.Connection[Any]) -> float:
    size, count = connection.execute(
        "SELECT hypertable_size('metrics'), (SELECT count(*) FROM metrics)"
    ).fetchone() or (0, 1)
    return round(size / count, 1)


def drill(arguments: argparse.Namespace) -> dict[str, Any]:
    """`nexus db backup` and `restore` of a database; of its four chunks two are compressed."""
    with _filled(arguments.rows, step=30) as url, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT compress_chunk(c) FROM (SELECT c FROM show_chunks('metrics') c LIMIT 2) AS x")
            [size] = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
        began = time.monotonic()
        file, dumped = backup(url, Path(folder))
        backed_up = time.monotonic() - began
        server, name = os.environ["NEXUS_TEST_DATABASE_URL"], f"nexus_drill_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            began = time.monotonic()
            restored = make_conninfo(server, dbname=name)
            restore(restored, file)
            with connect(restored) as connection:
                migrate(connection, DatabaseSettings())
            seconds = time.monotonic() - began
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return {
        "rows": arguments.rows,
        "database_mb": round(size / 1e6),
        "dump_mb": round(dumped / 1e6),
        "backup_s": round(backed_up, 1),
        "restore_s": round(seconds, 1),
    }


CASES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "late": late,
    "merge": merge,
    "rejects": rejects,
    "latest": latest,
    "compression": compression,
    "drill": drill,
}


def run(cases: dict[str, Callable[[argparse.Namespace], dict[str, Any]]], text: str, **sizes: float) -> None:
    """Runs the cases that the command line names, or all, and prints a line of each; `sizes` are more options."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("case", nargs="*", choices=[*cases, []], help="all, if none is named")
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=type(size), default=size)
    arguments = parser.parse_args()
    if "NEXUS_TEST_DATABASE_URL" not in os.environ:
        parser.error("NEXUS_TEST_DATABASE_URL names no server")
    for name in arguments.case or cases:
        print(json.dumps({name: cases[name](arguments)}), flush=True)


if __name__ == "__main__":
    run(CASES, __doc__, rows=10_000_000)
