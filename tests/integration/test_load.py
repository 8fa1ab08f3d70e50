"""`nexus load` beside a disk that is slower than what it should send."""

from collections.abc import Callable
from pathlib import Path

from nexus.cli.load import Load
from tests.parts import Mosquitto, Nexus


def test_a_load_waits_for_its_disk_and_drops_nothing(
    nexus: Callable[..., Nexus], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    out = tmp_path / "load.json"
    arguments = [
        "--rate",
        "0",
        "--points",
        "20000",
        "--devices",
        "20",
        "--tags",
        "50",
        "--wait",
        "0",
        "--out",
        str(out),
    ]
    keys = {"mqtt_url": mosquitto().url, "receipts": "ingestion", "queue_readings": "200"}
    sending = nexus("load", *arguments, **keys)
    sending.process.wait(60)
    load = Load.read(out)
    assert (load.points, load.dropped, load.ended) == (20_000, 0, True)
