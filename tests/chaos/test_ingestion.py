"""Broker, ingester and database die, alone and together: every point is in the table once.

NEXUS_TEST_INGEST_MODE=bulk goes the other way into the table, where NEXUS_TEST_POSTGRES_BIN is TimescaleDB Community.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from nexus.cli.verify import Report, verify
from tests.chaos import FULL, lasting
from tests.parts import Hole, Mosquitto, Nexus, Postgres, until

pytestmark = pytest.mark.timeout(900)
Start = Callable[..., Nexus]
MODE = os.environ.get("NEXUS_TEST_INGEST_MODE", "exact")


class Site:
    """What a test starts, and a load with its receipts."""

    def __init__(self, nexus: Start, broker: Mosquitto, database: str, folder: Path) -> None:
        self.nexus, self.broker, self.database = nexus, broker, database
        self.out = folder / "load.json"

    def ingester(self, *arguments: str, **keys: str) -> Nexus:
        keys = {"batch_seconds": "0.3", "database_url": self.database, "ingest_mode": MODE, **keys}
        return self.nexus("ingest", *arguments, mqtt_url=self.broker.url, **keys).until_ready()

    def load(self, rate: float, seconds: float, *arguments: str, **keys: str) -> Nexus:
        keys = {"receipts": "ingestion", **(keys if MODE == "exact" else {})}  # bulk mode goes by the numbers
        wait = os.environ.get("NEXUS_CHAOS_WAIT", "500")
        sizes = ["--rate", str(rate), "--seconds", str(seconds), "--wait", wait, "--out", str(self.out)]
        process = self.nexus(
            "load", *sizes, "--devices", "20", "--tags", "50", *arguments, mqtt_url=self.broker.url, **keys
        )
        until(lambda: self.out.exists() or process.ended(), "the load has begun")
        return process

    def flows(self) -> None:
        """Waits until rows are stored."""

        def look() -> bool:
            with psycopg.connect(self.database) as connection:
                return connection.execute("SELECT 1 FROM metrics LIMIT 1").fetchone() is not None

        until(look, "rows are stored")

    def verified(self, load: Nexus) -> Report:
        """After the load has its receipts: all is there, once."""
        code = load.process.wait(550)
        report = verify(self.out, self.database, 20)
        assert (report.good, code) == (True, 0), (report, load.log.read_text()[-3000:])
        assert report.expected > 0
        return report


@pytest.fixture
def site(nexus: Start, mosquitto: Callable[..., Mosquitto], postgres: Postgres, tmp_path: Path) -> Site:
    return Site(nexus, mosquitto(), postgres.url, tmp_path)


@pytest.mark.parametrize("publish", ["device", "tag"])
def test_a_consumer_that_is_killed_every_three_seconds(site: Site, publish: str) -> None:
    ingester = site.ingester()
    seconds = lasting(9, 60)
    rate = 20_000 if publish == "device" else 3_000
    load = site.load(rate, seconds, "--publish", publish, receipts="none")  # the broker alone has to do it
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(3)
        ingester.stop(signal.SIGKILL)
        ingester.restart()
        ingester.until_ready()
    site.verified(load)


def test_two_of_three_consumers_that_are_killed_for_good(site: Site) -> None:
    # The dead ones' sessions go on taking their share of what is sent, until they end.
    consumers = [site.ingester(session_seconds="600" if FULL else "10") for _ in range(3)]
    load = site.load(lasting(5_000, 20_000), lasting(4, 30))
    site.flows()
    for one in consumers[:2]:
        one.stop(signal.SIGKILL)
    site.verified(load)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_is_restarted(site: Site, postgres: Postgres, mode: str) -> None:
    site.ingester()
    load = site.load(20_000, 4, receipts="none")
    site.flows()
    postgres.stop(mode)
    postgres.start()
    site.verified(load)


def test_a_database_that_is_away(site: Site, postgres: Postgres) -> None:
    ingester = site.ingester()
    away = lasting(4, 60)
    load = site.load(5_000, away + 3)
    site.flows()
    postgres.stop("fast")
    until(lambda: ingester.metric("nexus_ingestion_database_up") == 0, "it is noticed")
    time.sleep(away)
    postgres.start()
    site.verified(load)
    until(lambda: ingester.get("/ready")[0] == 200, "all is well")


def test_a_broker_that_keeps_its_sessions_and_is_restarted(
    nexus: Start, persistent_mosquitto: Mosquitto, postgres: Postgres, tmp_path: Path
) -> None:
    site = Site(nexus, persistent_mosquitto, postgres.url, tmp_path)
    site.ingester()
    load = site.load(20_000, 4, receipts="none")
    site.flows()
    persistent_mosquitto.stop()
    persistent_mosquitto.start()
    site.verified(load)


def test_a_broker_that_forgets_its_full_queues(site: Site) -> None:
    """Only receipts survive this."""
    ingester = site.ingester()
    load = site.load(lasting(20_000, 100_000), lasting(8, 20))
    site.flows()
    ingester.process.send_signal(signal.SIGSTOP)
    time.sleep(3)  # in which the broker's queue grows
    ingester.stop(signal.SIGKILL)
    site.broker.stop(signal.SIGKILL)
    site.broker.start()
    ingester.restart()
    report = site.verified(load)
    assert report.expected >= 100_000


def test_everything_dies_in_random_order(site: Site, postgres: Postgres) -> None:
    seed = int(os.environ.get("NEXUS_CHAOS_SEED", time.time_ns()))
    sys.stdout.write(f"NEXUS_CHAOS_SEED={seed}\n")  # pytest shows it with a failure
    chance = random.Random(seed)
    consumers = [site.ingester(), site.ingester()]
    seconds = lasting(15, 180)
    load = site.load(10_000, seconds)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        for victim in chance.sample(["broker", "database", "ingester", "ingester"], chance.randint(1, 3)):
            if victim == "broker":
                site.broker.stop(signal.SIGKILL)
                time.sleep(chance.random())
                site.broker.start()
            elif victim == "database":
                postgres.stop("immediate")
                time.sleep(chance.random())
                postgres.start()
            else:
                one = chance.choice(consumers)
                one.stop(signal.SIGKILL)
                one.restart()
        time.sleep(chance.uniform(1, 5))
    site.verified(load)


def test_a_network_to_the_database_that_swallows_everything(site: Site, postgres: Postgres) -> None:
    hole = Hole(postgres.port)
    ingester = site.ingester(database_url=f"postgresql://postgres@127.0.0.1:{hole.port}/postgres")
    load = site.load(5_000, lasting(9, 12))
    site.flows()
    hole.open.clear()
    # Another may take the slot as soon as the server has given up on the first; both must not hold it.
    second = site.nexus("ingest", mqtt_url=site.broker.url, database_url=site.database, ingest_mode=MODE)
    second.until_ready()
    time.sleep(lasting(8, 60))
    hole.open.set()
    site.verified(load)
    until(lambda: ingester.get("/ready")[0] == 200, "the first is back", 90)
    assert {ingester.metric("nexus_ingestion_slot"), second.metric("nexus_ingestion_slot")} == {0, 1}
    hole.close()


def test_a_server_whose_disk_is_full(site: Site) -> None:
    ingester = site.ingester()
    load = site.load(5_000, 6)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        until(lambda: ingester.metric("nexus_ingestion_database_up") == 0, "it is noticed")
        time.sleep(3)
        connection.execute("DROP TRIGGER full_disk ON metrics")
    site.verified(load)
    with psycopg.connect(site.database) as connection:
        assert connection.execute("SELECT count(*) FROM rejects").fetchone() == (0,)


def test_clean_stops_at_full_rate(site: Site) -> None:
    consumers = [site.ingester(), site.ingester()]
    load = site.load(lasting(20_000, 100_000), 10, receipts="none")
    for turn in range(4):
        time.sleep(1.5)
        one = consumers[turn % 2]
        assert one.stop() == 0
        one.restart()
        one.until_ready()
    report = site.verified(load)
    assert report.duplicates == 0
