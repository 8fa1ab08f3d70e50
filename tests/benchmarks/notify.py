"""How long after an event is stored its notification has come, with one webhook. Prints JSON.

NEXUS_TEST_DATABASE_URL=… python -m tests.benchmarks.notify [--events N] [--rate PER_SECOND]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from db.migrate import connect, migrate
from db.settings import Settings
from tests.benchmarks.database import database
from tests.consoles import Console
from tests.integration.test_notifications import hook, store, word
from tests.parts import ended_with_block, until
from tests.receivers import Webhook, notify_file


def measured(count: int, rate: float) -> dict[str, Any]:
    """Milliseconds from the commit of an event to the webhook's request; events come one by one, `rate` a second."""
    sink, committed = Webhook(), dict[str, float]()
    with database() as url, tempfile.TemporaryDirectory() as name:
        with connect(url) as owner:
            migrate(owner, Settings())
        folder = Path(name)
        given = {"console_insecure": "1", "console_notify": str(notify_file(folder, hook(sink.url)))}
        console = Console(folder, url, mqtt_url="mqtt://127.0.0.1:9", **given)
        with ended_with_block(console):
            until(lambda: console.metric("nexus_console_notify_leading") == 1, "it sends", 60)
            began = time.monotonic()
            for number in range(count):
                one = word(number)
                store(url, one)
                committed[one.topic] = time.monotonic()
                time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
            took = time.monotonic() - began
            until(lambda: len(sink.taken) == count, "all have come", 60)
    sink.close()
    waits = sorted((one.at - committed[one.json["alarm"]["topic"]]) * 1000 for one in sink.taken)
    return {
        "events": count,
        "events_per_second": round(count / took, 1),
        "median_ms": round(waits[count // 2]),
        "p99_ms": round(waits[min(count - 1, count * 99 // 100)]),
        "longest_ms": round(waits[-1]),
    }


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10.0)
    own = parser.parse_args()
    print(json.dumps(measured(own.events, own.rate), indent=2))


if __name__ == "__main__":
    main()
