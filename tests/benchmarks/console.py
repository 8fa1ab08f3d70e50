"""The console's answers from a large historian, beside the bare queries. Prints JSON.

    NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.console [CASE …] [--database NAME] [--days 365]

Fills a database of its own (twenty million readings, 50,000 tags; some minutes), or asks the one that is named, which an
earlier run left there with --keep. The server is TimescaleDB Community if the figures are to mean something.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import make_conninfo

from db.migrate import connect, migrate
from db.settings import Settings
from tests.parts import Nexus, as_role, ended_with_block, free_port

TURNS = 60
SLOW = [f"dev/plant/line1/plc{number}/temperature" for number in range(20)]  # a reading a minute, for a year
FAST = [f"dev/plant/line2/plc{number}/pressure" for number in range(5)]  # a reading a second, for two days
_FILL = (
    """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT t, 'dev/plant/line1/plc' || d || '/temperature',
       round((50 + 20 * sin(extract(epoch FROM t) / 6000 + d) + random())::numeric, 2), 192, '°C'
FROM generate_series(%(now)s - make_interval(days => %(days)s), %(now)s, interval '1 minute') t, generate_series(0, 19) d
""",
    """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT t, 'dev/plant/line2/plc' || d || '/pressure',
       round((5 + 2 * sin(extract(epoch FROM t) / 600 + d) + random())::numeric, 2), 192, 'bar'
FROM generate_series(%(now)s - interval '2 days', %(now)s, interval '1 second') t, generate_series(0, 4) d
""",
    """
INSERT INTO metrics (time, topic, value, quality, unit)
SELECT t, 'dev/plant/hall' || d / 5000 || '/line' || d / 500 %% 10 || '/plc' || d / 50 || '/tag' || d %% 50, d + random(), 192, 'kW'
FROM generate_series(0, 49974) d, generate_series(%(now)s - interval '12 hours', %(now)s, interval '4 minutes') t
""",
    "INSERT INTO topics (topic) SELECT DISTINCT topic FROM metrics WHERE time > %(now)s - interval '1 hour' ON CONFLICT DO NOTHING",
)
_FRESH = """
INSERT INTO metrics (time, topic, value, quality, unit) SELECT date_trunc('second', now()), topic, random(), 192, 'kW' FROM topics
ON CONFLICT DO NOTHING
"""


class Console:
    """The service, and one connection to it."""

    def __init__(self, database: str, folder: Path, **more: str) -> None:
        self.port = free_port()
        settings = {
            "NEXUS_DATABASE_URL": as_role(database, "nexus_console"),
            "NEXUS_CONSOLE_INSECURE": "1",
            "NEXUS_CONSOLE_PORT": str(self.port),
            "NEXUS_CONSOLE_QUERY_SECONDS": "60",
            **more,
        }
        self.process = Nexus(folder, ["console"], settings).until_ready()
        self._asked = 0.0
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def get(self, path: str, query: dict[str, Any]) -> bytes:
        return self._ask("GET", f"/api/v1/{path}?{urlencode(query, doseq=True)}", None)

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        return self._ask("POST", f"/api/v1/{path}", json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        if time.monotonic() - self._asked > 2:  # else the console may just close it
            self._connection.close()
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        self._asked = time.monotonic()
        assert answer.status == 200, content
        return content

    def lines(self, path: str, query: dict[str, Any]) -> int:
        """Of an answer that is too large to be held."""
        self._connection.close()
        self._connection.request("GET", f"/api/v1/{path}?{urlencode(query, doseq=True)}")
        answer, found = self._connection.getresponse(), 0
        while block := answer.read(1 << 18):
            found += block.count(b"\n")
        return found

    def most_mb(self) -> float:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1000, 1)


def _times(ask: Callable[[], object]) -> dict[str, float]:
    ask()
    found = []
    for _ in range(TURNS):
        began = time.monotonic()
        ask()
        found.append((time.monotonic() - began) * 1000)
    return {"p50_ms": round(statistics.median(found), 1), "p95_ms": round(statistics.quantiles(found, n=20)[18], 1)}


def _beside(
    console: Callable[[], object], query: str, bare: psycopg.Connection[Any], given: Callable[[], Any]
) -> dict[str, Any]:
    return {"console": _times(console), "bare_query": _times(lambda: bare.execute(query.encode(), given()).fetchall())}


_BUCKETS = """
SELECT time_bucket('{width}', bucket), min(min), max(max), sum(sum) / sum(numbers), first(first, bucket), last(last, bucket),
       sum(count), sum(good)
FROM {rollup} WHERE topic = %s AND bucket >= %s AND bucket < %s GROUP BY 1 ORDER BY 1
"""


def _span(days: int) -> tuple[str, str]:
    now = datetime.now(UTC)
    return (now - timedelta(days=days)).isoformat(), now.isoformat()


def day(console: Console, bare: psycopg.Connection[Any]) -> dict[str, Any]:
    """A day of a tag with a reading a second, in at most 1,000 points."""
    query = _BUCKETS.format(width="2 minutes", rollup="metrics_1min")
    start, end = _span(1)

    def ask() -> bytes:
        return console.get("history", {"topic": random.choice(FAST), "from": start, "to": end})

    assert len(json.loads(ask())["series"][0]["points"]) > 100
    return _beside(ask, query, bare, lambda: (random.choice(FAST), start, end))


def year(console: Console, bare: psycopg.Connection[Any]) -> dict[str, Any]:
    """A year of a tag with a reading a minute, in at most 1,000 points."""
    query = _BUCKETS.format(width="12 hours", rollup="metrics_1hour")
    start, end = _span(365)

    def ask() -> bytes:
        return console.get("history", {"topic": random.choice(SLOW), "from": start, "to": end})

    assert len(json.loads(ask())["series"][0]["points"]) > 100
    return _beside(ask, query, bare, lambda: (random.choice(SLOW), start, end))


def search(console: Console, bare: psycopg.Connection[Any]) -> dict[str, Any]:
    """Two words among all tags, of which 100 are shown."""

    def word() -> str:
        return f"plc{random.randrange(1000)}"

    query = (
        "SELECT topic FROM topics WHERE lower(topic) LIKE '%%' || %s || '%%' AND lower(topic) LIKE '%%tag1%%'"
        " ORDER BY topic LIMIT 100"
    )
    return _beside(lambda: console.get("tags", {"q": f"TAG1 {word()}"}), query, bare, lambda: (word(),))


def last(console: Console, bare: psycopg.Connection[Any]) -> dict[str, Any]:
    """The last values of 1,000 tags."""
    topics = [topic for (topic,) in bare.execute("SELECT topic FROM topics").fetchall()]

    def some() -> list[str]:
        return random.sample(topics, 1_000)

    query = "SELECT * FROM metrics_latest WHERE topic = ANY(%s)"
    return _beside(lambda: console.post("last", {"topics": some()}), query, bare, lambda: (some(),))


def export(console: Console, bare: psycopg.Connection[Any]) -> dict[str, Any]:
    """Every reading of twenty tags as CSV, and psql's own COPY of them."""
    start, end = _span(400)
    before = console.most_mb()
    began = time.monotonic()
    rows = console.lines("export.csv", {"topic": SLOW, "from": start, "to": end}) - 1
    ours = rows / (time.monotonic() - began)
    found = {"rows": rows, "rows_s": round(ours), "mb_before": before, "mb_most": console.most_mb()}
    if (psql := os.environ.get("NEXUS_PSQL") or shutil.which("psql")) is None:
        return {**found, "psql": "not there: set NEXUS_PSQL"}
    copies = "".join(
        f"COPY (SELECT time, topic, value, quality, unit FROM metrics WHERE topic = '{topic}' AND time >= '{start}'"
        f" AND time < '{end}' ORDER BY time) TO STDOUT (FORMAT csv);\n"
        for topic in SLOW
    )
    began = time.monotonic()
    here = bare.info
    server = ["-h", here.host, "-p", str(here.port), "-U", here.user, "-d", here.dbname]
    subprocess.run(
        [psql, "-qX", *server],
        input=copies.encode(),
        env={**os.environ, "PGPASSWORD": here.password},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    floor = rows / (time.monotonic() - began)
    return {**found, "psql_rows_s": round(floor), "ratio": round(ours / floor, 2)}


CASES: dict[str, Callable[[Console, psycopg.Connection[Any]], dict[str, Any]]] = {
    "search": search,
    "day": day,
    "year": year,
    "last": last,
    "export": export,
}


@contextmanager
def _database(name: str | None, days: int, *, keep: bool) -> Iterator[str]:
    server = os.environ["NEXUS_TEST_DATABASE_URL"]
    if name is not None:
        yield make_conninfo(server, dbname=name)
        return
    made = f"nexus_console_bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {made}".encode())
    try:
        url = make_conninfo(server, dbname=made)
        with connect(url) as connection:
            migrate(connection, Settings(retention=36_000, retention_1min=36_000, retention_1hour=36_000))
        _fill(url, days)
        print(json.dumps({"database": made}), flush=True)
        yield url
    finally:
        if not keep:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {made} WITH (FORCE)".encode())


def _fill(url: str, days: int) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT alter_job(j, scheduled => false) FROM (SELECT job_id AS j FROM timescaledb_information.jobs WHERE job_id >= 1000) AS jobs"
        )
        for query in _FILL:
            connection.execute(query.encode(), {"now": now, "days": days})
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('metrics', older_than => interval '7 days') AS c")
        for view, until in (("metrics_1min", 1), ("metrics_1hour", 60), ("metrics_1day", 1_440)):
            span = (now - timedelta(days=days + 2), now - timedelta(minutes=until))
            connection.execute(
                f"CALL refresh_continuous_aggregate('{view}', %s::timestamptz, %s::timestamptz)".encode(), span
            )
        connection.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help="all, if none is named")
    parser.add_argument("--database", help="one that is filled already")
    parser.add_argument("--days", type=int, default=365, help="of twenty of the tags")
    parser.add_argument("--keep", action="store_true", help="leaves the database there")
    arguments = parser.parse_args()
    if "NEXUS_TEST_DATABASE_URL" not in os.environ:
        parser.error("NEXUS_TEST_DATABASE_URL names no server")
    with (
        _database(arguments.database, arguments.days, keep=arguments.keep) as url,
        tempfile.TemporaryDirectory() as folder,
        psycopg.connect(url, autocommit=True) as bare,
    ):
        bare.execute(_FRESH.encode())
        console = Console(url, Path(folder))
        with ended_with_block(console.process):
            for name in arguments.case or CASES:
                print(json.dumps({name: CASES[name](console, bare)}), flush=True)


if __name__ == "__main__":
    main()
