"""A log that nobody takes costs its lines."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

from tests.conftest import Production
from tests.parts import Nexus, until


def test_a_full_disk_under_the_log_stops_no_service(nexus: Callable[..., Nexus], production: Production) -> None:
    ingester = nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.writer).until_ready()
    assert ingester.stop() == 0
    ingester.log.unlink()
    ingester.log.symlink_to("/dev/full")
    ingester.restart()
    ingester.log.unlink()  # of /dev/full one reads zeros without end
    ingester.log.touch()
    ingester.until_ready()
    production.broker.stop()
    until(lambda: ingester.get("/ready")[0] == 503 or ingester.ended(), "it says that the broker is away")
    production.broker.start()
    ingester.until_ready()
    assert ingester.stop() == 0


STUCK = """
from nexus.process import lines, log
log.configure("test", "info", "json")
for number in range(1000):
    log.get("test").info("a line of a hundred bytes or so, for whom it may concern", number=number)
print(int(lines.lost._value.get()))
"""


def test_a_reader_of_the_log_that_reads_nothing_holds_nothing_up() -> None:
    reader, writer = os.pipe()
    try:
        command = [sys.executable, "-c", STUCK]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, timeout=60, check=True)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as log:
        taken = log.read().splitlines()
    assert 0 < len(taken) < 1000
    assert len([line for line in taken if line.endswith(b"}")]) + int(done.stdout) == 1000
    assert json.loads(taken[0])["number"] == 0
