"""What the ingester does, against a raw COPY measured in the same run. Prints JSON.

    NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.ingest [CASE …] [--seconds N] [--points N] [--rate N]

Broker, ingester and load are processes of their own beside the database server, which is TimescaleDB Community if the
figures are to mean something. The machine is shared: compare ratios of one run, not figures of two.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psycopg

from ingestion.decode.rows import COLUMNS, Encoder, Rows, Window, copy_data
from nexus.cli.load import Load
from nexus.contract import topic
from nexus.contract.codec import Message
from nexus.contract.reading import Value
from tests.benchmarks.database import database, run
from tests.benchmarks.poll import Usage, modbus_plant, parts
from tests.parts import Mosquitto, Nexus, ended_with_block, until

DEVICES, TAGS = 100, 100
_TURN_SECONDS = 30  # between two days that are compressed and dropped beside the plant's readings


class Site:
    """Broker and database, and what is started beside them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.broker = Mosquitto(folder, "allow_anonymous true\nlog_type none").start()
        self.running: list[Nexus] = []

    def ingester(self, **keys: str) -> Nexus:
        environment = {f"NEXUS_{key.upper()}": value for key, value in keys.items()}
        environment |= {"NEXUS_MQTT_URL": self.broker.url, "NEXUS_DATABASE_URL": self.url}
        self.running.append(Nexus(self.folder, ["ingest"], environment))
        return self.running[-1].until_ready()

    def load(self, *arguments: str, **keys: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "NEXUS_MQTT_URL": self.broker.url, "NEXUS_LOG_LEVEL": "error"}
        environment |= {f"NEXUS_{key.upper()}": value for key, value in keys.items()}
        self.out = self.folder / f"load-{time.monotonic_ns()}.json"
        sizes = ["--devices", str(DEVICES), "--tags", str(TAGS), "--out", str(self.out)]
        command = [sys.executable, "-m", "nexus", "load", *sizes, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def verify(self, wait: float = 60) -> dict[str, Any]:
        until(self.out.exists, "the load has begun")
        command = [sys.executable, "-m", "nexus", "verify", str(self.out), "--wait", str(wait)]
        environment = {**os.environ, "NEXUS_DATABASE_URL": self.url, "NEXUS_ENVIRONMENT": "development"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rows(self) -> int:
        with psycopg.connect(self.url) as connection:
            return int(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])  # type: ignore[index]


@contextmanager
def site(mode: Literal["exact", "bulk"] = "exact") -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name, database(mode) as url:
        one = Site(Path(name), url)
        try:
            yield one
        finally:
            with ended_with_block(*one.running):
                pass
            one.broker.stop()


def ceiling(points: int, at_once: int) -> dict[str, Any]:
    """Rows a second of a bare COPY, sorted, into the same table, over one connection."""
    encoder, now = Encoder(), int(time.time() * 1000)
    batches = []
    scans = at_once // TAGS
    for batch in range(points // at_once):
        rows, late = Rows(), Rows()
        for scan in range(scans):
            number = batch * scans + scan
            values: dict[str, Value] = {f"t{tag:03}": float(number) for tag in range(TAGS)}
            message = Message(f"dev/raw/d{number % DEVICES:04}", now - 3_600_000 + number // DEVICES * 7, values)
            encoder.encode(message, Window(0, 0, now), rows, late)
        batches.append(copy_data(rows.in_order()))
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        began = time.monotonic()
        for data in batches:
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY metrics ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.write(data)
        seconds = time.monotonic() - began
    return {"rows": len(batches) * at_once, "batch": at_once, "rows_a_second": round(len(batches) * at_once / seconds)}


def steady(arguments: argparse.Namespace) -> dict[str, Any]:
    """200,000 points a second in device messages, for a minute."""
    with site() as here:
        ingester = here.ingester()
        usage = Usage(ingester.process.pid)
        load = here.load("--rate", "200000", "--seconds", str(arguments.seconds))
        report = here.verify()
        load.wait()
        sent = Load.read(here.out)
        return {
            "points_a_second": round(sent.points / sent.seconds),
            "behind_at_the_end_seconds": report["waited"],
            "missing": report["missing"],
            "duplicates": report["duplicates"],
            "latency": report["latency"],
            "cpu": usage.cpu(),
            "rss_mb": usage.rss_mb(),
            "batch_points": _mean([ingester], "nexus_ingestion_batch_points"),
        }


def _mean(processes: list[Nexus], name: str) -> float:
    total, count = (sum(one.metric(f"{name}_{part}") for one in processes) for part in ("sum", "count"))
    return round(total / max(1, count))


def _emptied(
    here: Site, ingesters: int, publish: str, points: int, writers: int = 2, mode: str = "exact"
) -> dict[str, Any]:
    """The rate at which a full queue is emptied: from the first row to the last."""
    running = [here.ingester(writers=str(writers), ingest_mode=mode) for _ in range(ingesters)]
    for one in running:
        one.stop(signal.SIGKILL)
    numbered = "ingestion" if mode == "bulk" else "none"
    here.load("--publish", publish, "--rate", "0", "--points", str(points), "--wait", "4", receipts=numbered).wait()
    sent = Load.read(here.out)
    last = sent.devices - 1
    last_topic = topic.tag(sent.device(last), sent.tag(sent.tags - 1))
    for one in running:
        one.restart()
    with psycopg.connect(here.url, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM metrics LIMIT 1").fetchone() is None:
            time.sleep(0.005)
        began = time.monotonic()
        usages = [Usage(one.process.pid) for one in running]
        # Not by the metrics, which are up to a second old.
        while connection.execute("SELECT count(*) FROM metrics WHERE topic = %s", (last_topic,)).fetchone() != (
            sent.scans[last],
        ):
            time.sleep(0.02)
        seconds = time.monotonic() - began
    return {
        "points": sent.points,
        "points_a_second": round(sent.points / seconds),
        "cpu": round(sum(usage.cpu() for usage in usages), 2),
        "rss_mb": sum(usage.rss_mb() for usage in usages),
        "batch_points": _mean(running, "nexus_ingestion_batch_points"),
    }


def full_queue(arguments: argparse.Namespace) -> dict[str, Any]:
    """Device messages out of a full queue, and the ceiling before and after, at the batch size that came of it."""
    with site() as here:
        found = _emptied(here, 1, "device", arguments.points, writers=1)
    size = min(50_000, max(5_000, found["batch_points"] // 5_000 * 5_000))
    floors = [ceiling(arguments.points, size) for _ in range(2)]
    rate = statistics.mean(floor["rows_a_second"] for floor in floors)
    with site() as here:
        two = _emptied(here, 1, "device", arguments.points)
    share = round(found["points_a_second"] / rate, 2)
    return {"one_writer": found, "ceiling": floors, "of_the_ceiling": share, "two_writers": two}


def bulk(arguments: argparse.Namespace) -> dict[str, Any]:
    """Numbered device messages out of a full queue, in both modes, and what the table weighs then."""
    found: dict[str, Any] = {}
    for mode in ("exact", "bulk"):
        with site(mode) as here:
            found[mode] = _emptied(here, 1, "device", arguments.points, mode=mode)
            with psycopg.connect(here.url) as connection:
                found[mode]["rows"], size = connection.execute(
                    "SELECT count(*), hypertable_size('metrics') FROM metrics"
                ).fetchone()  # type: ignore[misc]
            found[mode]["bytes_a_row"] = round(size / found[mode]["rows"], 1)
    found["ratio"] = round(found["bulk"]["points_a_second"] / found["exact"]["points_a_second"], 2)
    return found


def tag_messages(arguments: argparse.Namespace) -> dict[str, Any]:
    """A message a tag, out of a full queue: one ingester, and two."""
    points = arguments.points // 8
    with site() as here:
        one = _emptied(here, 1, "tag", points)
    with site() as here:
        two = _emptied(here, 2, "tag", points)
    return {"one": one, "two": two, "two_to_one": round(two["points_a_second"] / one["points_a_second"], 2)}


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """From reading to visible, at 5,000 points a second: the default flush, and one of 50 ms."""
    found = {}
    for name, flush in (("default", "1"), ("flush_50ms", "0.05")):
        with site() as here:
            here.ingester(batch_seconds=flush)
            load = here.load("--rate", "5000", "--devices", "50", "--tags", "10", "--seconds", str(arguments.seconds))
            found[name] = here.verify()["latency"]
            load.wait()
    return found


def outage(arguments: argparse.Namespace) -> dict[str, Any]:
    """Memory with the database away and every buffer full."""
    found: dict[str, Any] = {}
    for publish in ("device", "tag"):
        with site() as here:
            ingester = here.ingester()
            with psycopg.connect(here.url, autocommit=True) as connection:
                connection.execute("ALTER TABLE metrics RENAME TO hidden")
                here.load("--publish", publish, "--rate", "0", "--points", str(arguments.points // 2)).wait()
                time.sleep(3)
                usage = Usage(ingester.process.pid)
                names = ("undecoded_messages", "buffered_points")
                found[publish] = {name: int(ingester.metric(f"nexus_ingestion_{name}")) for name in names}
                found[publish]["rss_mb"] = usage.rss_mb()
                connection.execute("ALTER TABLE hidden RENAME TO metrics")
            report = here.verify()
            found[publish] |= {"missing": report["missing"], "duplicates": report["duplicates"]}
    return found


def maintenance(arguments: argparse.Namespace) -> dict[str, Any]:
    """50,000 points a second, alone, and beside refreshing, compressing and querying: the time that writing takes."""

    def measured(beside: Callable[[str, threading.Event], None] | None) -> dict[str, Any]:
        with site() as here:
            with psycopg.connect(
                here.url, autocommit=True
            ) as connection:  # the day before yesterday, and today's chunk
                connection.execute(
                    "INSERT INTO metrics (time, topic, value, quality) SELECT t, 'dev/old/d' || d || '/t', d, 192"
                    " FROM generate_series(now() - interval '3 days', now() - interval '2 days', interval '5 s') t,"
                    " generate_series(1, 100) d UNION ALL SELECT now(), 'dev/old', 0, 192"
                )
                until(partial(_refreshed, connection, "now() - interval '1 day'"), "the old is aggregated", 60)
            ingester, stop = here.ingester(), threading.Event()
            thread = threading.Thread(target=beside, args=(here.url, stop)) if beside else None
            if thread:
                thread.start()
            load = here.load("--rate", "50000", "--seconds", str(arguments.seconds))
            report = here.verify()
            load.wait()
            stop.set()
            if thread:
                thread.join()
            return {
                "write_seconds_per_million": round(
                    ingester.metric("nexus_ingestion_write_seconds_sum")
                    / ingester.metric("nexus_ingestion_rows_total")
                    * 1e6,
                    2,
                ),
                "behind_at_the_end_seconds": report["waited"],
                "latency": report["latency"],
                "missing": report["missing"],
            }

    alone, busy = measured(None), measured(_maintain)
    return {
        "alone": alone,
        "beside": busy,
        "ratio": round(busy["write_seconds_per_million"] / alone["write_seconds_per_million"], 2),
    }


def plant(arguments: argparse.Namespace) -> dict[str, Any]:
    """`--rate` points a second beside refreshing, compressing, dropping and querying: for ten minutes with --seconds 600."""
    with site() as here:
        with psycopg.connect(here.url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO metrics (time, topic, value, quality) SELECT t, 'dev/old/d' || d || '/t', d, 192"
                " FROM generate_series(now() - make_interval(days => %s), now() - interval '2 days', interval '1 minute') t,"
                " generate_series(1, 100) d",
                (int(arguments.seconds) // _TURN_SECONDS + 5,),  # a day for each turn, so that none comes to today's
            )
        ingester, stop, dropped = here.ingester(), threading.Event(), [0]

        def look_and_keep() -> None:
            """A dashboard's queries, and every half a minute a day is compressed and one dropped; the policies refresh."""
            with psycopg.connect(here.url, autocommit=True) as connection:
                turns = 0
                while not stop.wait(1):
                    connection.execute(
                        "SELECT bucket, avg FROM metrics_1min WHERE topic = 'dev/raw/d0007/t007' AND bucket > now() - interval '6 h'"
                    ).fetchall()
                    connection.execute("SELECT * FROM metrics_latest WHERE topic LIKE 'dev/raw/d0007/%'").fetchall()
                    if (turns := turns + 1) % _TURN_SECONDS:
                        continue
                    chunks = "SELECT format('%I.%I', chunk_schema, chunk_name), range_end FROM timescaledb_information.chunks"
                    oldest, end = connection.execute(
                        f"{chunks} WHERE hypertable_name = 'metrics' ORDER BY range_end LIMIT 1".encode()
                    ).fetchone()  # type: ignore[misc]
                    if end > datetime.now(UTC):
                        continue
                    connection.execute("SELECT compress_chunk(%s::regclass, true)", (oldest,))
                    dropped[0] += len(connection.execute("SELECT drop_chunks('metrics', %s)", (end,)).fetchall())

        beside = threading.Thread(target=look_and_keep)
        beside.start()
        usage = Usage(ingester.process.pid)
        load = here.load("--rate", str(arguments.rate), "--seconds", str(arguments.seconds))
        load.wait()
        behind_from = time.monotonic()
        until(lambda: ingester.metric("nexus_ingestion_rows_total") >= Load.read(here.out).points, "all is stored", 600)
        behind = time.monotonic() - behind_from
        report = here.verify()
        cpu, rss = usage.cpu(), usage.rss_mb()
        stop.set()
        beside.join()
        sent = Load.read(here.out)
        return {
            "points_a_second": round(sent.points / sent.seconds),
            "behind_at_the_end_seconds": round(behind, 1),
            **{name: report[name] for name in ("missing", "duplicates", "latency")},
            "chunks_dropped": dropped[0],
            "cpu": cpu,
            "rss_mb": rss,
        }


def _refreshed(connection: psycopg.Connection[Any], upto: str) -> bool:
    """Refreshes; not where a policy is at it."""
    try:
        connection.execute(
            f"CALL refresh_continuous_aggregate('metrics_1min', now() - interval '7 days', {upto})".encode()
        )
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _maintain(url: str, stop: threading.Event) -> None:
    """What jobs and dashboards do, more often than they do it."""
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            _refreshed(connection, "now() - interval '1 minute'")
            connection.execute(
                "SELECT compress_chunk(c, true) FROM show_chunks('metrics', older_than => interval '1 day') c"
            )
            for _ in range(10):
                connection.execute(
                    "SELECT time, value FROM metrics WHERE topic = 'dev/old/d7/t' AND time > now() - interval '3 days'"
                ).fetchall()
                connection.execute("SELECT * FROM metrics_1min WHERE topic = 'dev/old/d7/t'").fetchall()
                stop.wait(0.5)


def receipts(arguments: argparse.Namespace) -> dict[str, Any]:
    """What receipts cost the gateway: CPU for a million readings, in device and in tag messages."""
    found: dict[str, Any] = {}
    for publish, rate in (("device", "60000"), ("tag", "8000")):
        for name, wanted in (("without", "none"), ("with", "ingestion"), ("without_again", "none")):
            with site() as here:
                here.ingester()
                load = here.load(
                    "--publish",
                    publish,
                    "--rate",
                    rate,
                    "--tags",
                    "20",
                    "--seconds",
                    str(arguments.seconds),
                    receipts=wanted,
                )
                usage = Usage(load.pid)
                until(here.out.exists, "the load has begun")
                while not (sent := Load.read(here.out)).ended:
                    seconds = usage.seconds()
                    time.sleep(0.02)
                load.wait()
                found[f"{publish}_{name}"] = {
                    "cpu_seconds_per_million": round(seconds / sent.points * 1e6, 2),
                    "unconfirmed": sent.unconfirmed,
                }
        plain = statistics.mean(
            found[f"{publish}_{name}"]["cpu_seconds_per_million"] for name in ("without", "without_again")
        )
        found[f"{publish}_ratio"] = round(found[f"{publish}_with"]["cpu_seconds_per_million"] / plain, 2)
    return found


def gateway(arguments: argparse.Namespace) -> dict[str, Any]:
    """What receipts cost a gateway that polls 1,000 Modbus devices of 20 tags a second: CPU a million readings."""
    found: dict[str, Any] = {}
    simulation, devices = modbus_plant(1000, 20, 21000, spread=1000)
    for name, receipts_of in (("without", "none"), ("with", "ingestion"), ("without_again", "none")):
        with (
            database() as url,
            parts(simulation, devices, receipts=receipts_of) as (_, polling, broker),
            tempfile.TemporaryDirectory() as folder,
        ):
            ingester = Nexus(Path(folder), ["ingest"], {"NEXUS_MQTT_URL": broker.url, "NEXUS_DATABASE_URL": url})
            with ended_with_block(ingester):
                ingester.until_ready()
                time.sleep(8)  # connections and plans are made
                before, usage = polling.metric("nexus_gateway_readings_total"), Usage(polling.process.pid)
                began = time.monotonic()
                time.sleep(arguments.seconds)
                took, cpu = time.monotonic() - began, usage.cpu()
                readings = polling.metric("nexus_gateway_readings_total") - before
                found[name] = {"readings_a_second": round(readings / took), "cpu": cpu}
                found[name]["cpu_seconds_per_million"] = round(cpu * took / readings * 1e6, 2)
    without = min(found[name]["cpu_seconds_per_million"] for name in ("without", "without_again"))
    return {**found, "ratio": round(found["with"]["cpu_seconds_per_million"] / without, 2)}


CASES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "steady": steady,
    "full_queue": full_queue,
    "bulk": bulk,
    "tag": tag_messages,
    "latency": latency,
    "outage": outage,
    "maintenance": maintenance,
    "plant": plant,
    "receipts": receipts,
    "gateway": gateway,
}


if __name__ == "__main__":
    run(CASES, __doc__, seconds=20.0, points=4_000_000, rate=200_000)
