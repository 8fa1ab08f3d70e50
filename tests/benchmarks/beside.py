"""What people at the console cost ingestion: the same readings without them, and with them. Prints JSON.

    NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.beside [--seconds N] [--rounds N] [--rate READINGS]

One ingester stores so many readings a second. In every second round 100 pages watch ten tags each, and somebody looks
up tags, an hour of one and the last values of a thousand, twice a second. Database, broker, load and people share the
machine: where its cores are not all busy, what is seen is what the services do to each other.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tests.benchmarks.console import Console
from tests.benchmarks.database import run
from tests.benchmarks.ingest import DEVICES, TAGS, Site, site
from tests.benchmarks.poll import Usage
from tests.benchmarks.sockets import open_all
from tests.parts import Nexus, ended_with_block

PAGES, WATCHED = 100, 10
_PAUSE_SECONDS = 0.5  # between two looks
TOPICS = [f"dev/raw/d{device:04}/t{tag:03}" for device in range(DEVICES) for tag in range(TAGS)]


def watch(port: int) -> None:
    """Pages that stay open."""

    async def stay() -> None:
        topics = (random.sample(TOPICS, WATCHED) for _ in range(PAGES))
        await open_all(port, [json.dumps({"subscribe": some, "rate": 1}).encode() for some in topics])
        await asyncio.Event().wait()

    asyncio.run(stay())


def look(console: Console) -> None:
    """Somebody who looks things up."""
    while True:
        now = datetime.now(UTC)
        span = {"from": (now - timedelta(hours=1)).isoformat(), "to": now.isoformat()}
        console.get("tags", {"q": f"d00 t{random.randrange(TAGS):03}"})
        console.get("history", {"topic": random.choice(TOPICS), **span})
        console.post("last", {"topics": random.sample(TOPICS, 1_000)})
        time.sleep(_PAUSE_SECONDS)


def one_round(here: Site, ingester: Nexus, arguments: argparse.Namespace) -> dict[str, float]:
    """What storing cost for a million readings, and how long a reading took."""
    names = ("nexus_ingestion_write_seconds_sum", "nexus_ingestion_rows_total")
    before, usage = [ingester.metric(name) for name in names], Usage(ingester.process.pid)
    load = here.load("--rate", str(arguments.rate), "--seconds", str(arguments.seconds))
    report = here.verify()
    load.wait()
    assert not report["missing"], report
    cpu = usage.seconds()
    writing, rows = (ingester.metric(name) - earlier for name, earlier in zip(names, before, strict=True))
    return {
        "write_seconds_per_million": round(writing / rows * 1e6, 2),
        "cpu_seconds_per_million": round(cpu / rows * 1e6, 2),
        "latency_p99": report["latency"]["p99"],
    }


def beside(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds with and without people, in turn, and the ratios of their medians."""
    rounds: dict[str, list[dict[str, float]]] = {"alone": [], "beside": []}
    with site() as here:
        ingester = here.ingester()
        console = Console(here.url, here.folder, NEXUS_MQTT_URL=here.broker.url)
        with ended_with_block(console.process):
            one_round(here, ingester, arguments)  # connections and plans are made
            for number in range(arguments.rounds):
                is_beside = number % 2 == 1
                people = [multiprocessing.Process(target=partial(watch, console.port), daemon=True)]
                people.append(multiprocessing.Process(target=partial(look, console), daemon=True))
                for one in people if is_beside else ():
                    one.start()
                usage = Usage(console.process.process.pid)
                found = one_round(here, ingester, arguments) | {"console_cpu": usage.cpu()}
                rounds["beside" if is_beside else "alone"].append(found)
                for one in people if is_beside else ():
                    assert one.is_alive()
                    one.terminate()
                    one.join()
    medians = {
        name: {key: statistics.median(one[key] for one in some) for key in some[0]} for name, some in rounds.items()
    }
    ratios = {key: round(value / medians["alone"][key], 3) for key, value in medians["beside"].items()}
    return {"rounds": rounds, **medians, "ratio": ratios}


if __name__ == "__main__":
    run({"beside": beside}, __doc__, seconds=20.0, rounds=7, rate=20_000)
