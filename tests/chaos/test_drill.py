"""The restore drill: the database is lost while everything runs, and restored from the last dump."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from db.migrate import connect, migrate
from db.settings import Settings as DatabaseSettings
from tests.chaos.test_ingestion import MODE, Site, Start
from tests.integration.test_historian_tools import run
from tests.parts import Mosquitto, Postgres, until

NAME = "plant"
GAPS = """
SELECT before, time FROM (
    SELECT value, time, lag(value) OVER device AS last, lag(time) OVER device AS before
    FROM metrics WHERE topic LIKE '%/t000' WINDOW device AS (PARTITION BY topic ORDER BY time)
) AS rows WHERE value <> last + 1
"""


def test_a_lost_database_is_restored_while_everything_runs(
    nexus: Start, mosquitto: Callable[..., Mosquitto], postgres: Postgres, tmp_path: Path
) -> None:
    """What was committed between the dump and the loss is gone, and nothing else: before it, and since."""
    broker = mosquitto()
    server, database = postgres.url, make_conninfo(postgres.url, dbname=NAME)
    # With a password the role logs in, as it does in production: only then the database can be closed to it.
    settings = DatabaseSettings(ingest_mode=MODE, writer_password="of-the-writer")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
    with connect(database) as connection:
        migrate(connection, settings)
    site = Site(nexus, broker, make_conninfo(database, user="nexus_writer"), tmp_path)
    ingester = site.ingester()
    load = site.load(2_000, 25)
    time.sleep(3)
    dumped_from = time.time()
    done = run(database, "db", "backup", str(tmp_path / "plant.dump"), programs=str(postgres.programs))
    assert done.returncode == 0, done.stderr
    backup_seconds = time.time() - dumped_from
    time.sleep(3)
    lost_at = time.time()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        until(lambda: ingester.get("/ready")[0] == 503, "it is noticed")
        began = time.monotonic()
        connection.execute(f"CREATE DATABASE {NAME}")
    for arguments in (["db", "restore", str(tmp_path / "plant.dump")], ["db", "migrate"]):
        done = run(database, *arguments, programs=str(postgres.programs), ingest_mode=MODE)
        assert done.returncode == 0, done.stderr
    until(lambda: ingester.get("/ready")[0] == 200, "it works again", 40)
    recovered = time.monotonic() - began
    assert load.process.wait(120) == 0, load.log.read_text()
    sent = json.loads(site.out.read_text())
    with psycopg.connect(database) as connection:
        gaps = connection.execute(GAPS).fetchall()
        ends = connection.execute("SELECT topic, min(value), max(value) FROM metrics GROUP BY topic").fetchall()
    window = [(before.timestamp(), after.timestamp()) for before, after in gaps]
    assert len(ends) == 20 * 50
    for topic, first, last in ends:
        device = int(topic.split("/")[-2].removeprefix("d"))
        assert (first, last) == (1, sent["scans"][device]), "all is there from the beginning to the end"
    assert 0 < len(window) <= 20, "nothing was lost in between, or a device has more than one gap"
    for before, after in window:
        assert before > dumped_from - 2, "a row from before the dump is gone"
        assert after < lost_at + 2, "a row from after the loss is gone"
    told = {
        "backup_s": round(backup_seconds, 1),
        "rto_s": round(recovered, 1),
        "rpo_s": round(max(after - before for before, after in window), 1),
        "rows": sum(sent["scans"]) * 50,
    }
    sys.stdout.write(json.dumps(told) + "\n")
