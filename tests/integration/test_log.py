"""A log that nobody takes costs its lines."""

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
