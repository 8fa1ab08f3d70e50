"""What gateways count comes out exactly, whatever dies on the way; and what a killed gateway costs is bounded."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import class_row, dict_row

from console.historian.completeness import Found, Row, items
from tests.chaos.test_ingestion import MODE
from tests.parts import Mosquitto, Nexus, Postgres, as_role, free_port, until

Start = Callable[..., Nexus]
TAGS = 3
INTERVAL = 1  # seconds between two messages of counts
DEVICES = ("line/a", "line/b", "quiet")

_COUNTS = """
SELECT device, time, sum(read)::int AS read, sum(marked)::int AS marked, sum(sent)::int AS sent,
    sum(repeated)::int AS repeated, sum(receipted)::int AS receipted, sum(dropped)::int AS dropped,
    sum(away)::int AS away, sum(resting)::int AS resting, sum(overran)::int AS overran
FROM completeness GROUP BY 1, 2
"""
_ROWS = """
SELECT device, time, run, since, until, ended, read, marked, sent, repeated, receipted, dropped, away, resting, overran
FROM completeness ORDER BY device, time
"""
_STORED = """
SELECT left(topic, -strpos(reverse(topic), '/')) AS device, bucket, sum(count)::int FROM metrics_1hour GROUP BY 1, 2
"""


_START, _STOP = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Plant:
    """Devices of a simulator, a broker, a database, an ingester, and a gateway that counts."""

    def __init__(self, nexus: Start, broker: Mosquitto, postgres: Postgres, folder: Path) -> None:
        self.broker, self.postgres = broker, postgres
        port = free_port()
        points = "[{table: holding, offset: 0, type: uint16, signal: {kind: counter}}, "
        points += "{table: holding, offset: 1, type: uint16, signal: {kind: constant, value: 5}}]"
        (folder / "plant.yaml").write_text(
            f"devices: [{{name: plc, protocol: modbus-tcp, port: {port}, unit: 1, points: {points}}}]"
        )
        self.simulator = nexus("simulate", str(folder / "plant.yaml")).until_ready()
        text = "devices:\n"
        for path, more in ((path, ", on_change: true" if path == "quiet" else "") for path in DEVICES):
            tags = "".join(
                f'      - {{name: t{n}, address: "holding:4000{1 + n % 2}:uint16"{more}}}\n' for n in range(TAGS)
            )
            where = f"protocol: modbus-tcp, host: 127.0.0.1, port: {port}, timeout: 500ms"
            keys = "interval: 100ms, breaker: {failures: 2, open_for: 300ms, max_open_for: 1s}"
            name = path.replace("/", "-")
            text += f"  - name: {name}\n    path: {path}\n"
            text += "".join(f"    {key.strip()}\n" for key in where.split(",")) + "    interval: 100ms\n"
            text += f"    {keys.partition(', ')[2]}\n    tags:\n{tags}"
        (folder / "devices.yaml").write_text(text)
        self.ingester = nexus(
            "ingest", mqtt_url=broker.url, database_url=as_role(postgres.url, "nexus_writer"), ingest_mode=MODE
        ).until_ready()
        self.gateway = nexus(
            "gateway",
            "--devices",
            str(folder / "devices.yaml"),
            mqtt_url=broker.url,
            receipts="ingestion",
            counts_interval=f"{INTERVAL}s",
        ).until_ready()

    def counts(self) -> dict[tuple[str, Any], dict[str, int]]:
        with psycopg.connect(self.postgres.url, row_factory=dict_row) as connection:
            return {(row.pop("device"), row.pop("time")): row for row in connection.execute(_COUNTS).fetchall()}

    def stored(self) -> dict[tuple[str, Any], int]:
        with psycopg.connect(self.postgres.url) as connection:
            rows = connection.execute(_STORED).fetchall()
        return {(device.removeprefix("dev/"), hour): count for device, hour, count in rows}

    def goes_on(self) -> None:
        """New readings of each device come to the database."""
        before = self.stored()
        until(
            lambda: (
                sum(self.stored().values()) > sum(before.values()) + 30
                and self.gateway.metric("nexus_gateway_spool_readings") < 200
            ),
            "readings come again",
            60,
        )


@pytest.fixture
def plant(nexus: Start, mosquitto: Callable[..., Mosquitto], postgres: Postgres, tmp_path: Path) -> Plant:
    return Plant(nexus, mosquitto(), postgres, tmp_path)


def test_the_sums_come_out_exactly_whatever_is_killed(plant: Plant) -> None:
    plant.goes_on()
    plant.ingester.stop(signal.SIGKILL)
    time.sleep(1)
    plant.ingester.restart()
    plant.goes_on()
    plant.broker.stop(signal.SIGKILL)
    time.sleep(1)
    plant.broker.start()
    plant.goes_on()
    plant.postgres.stop("immediate")
    time.sleep(1)
    plant.postgres.start()
    plant.goes_on()
    plant.simulator.stop(signal.SIGKILL)
    until(lambda: plant.gateway.metric("nexus_gateway_breaker_openings_total") == len(DEVICES), "breakers open", 30)
    time.sleep(1)
    plant.simulator.restart()
    plant.goes_on()
    assert plant.gateway.metric("nexus_gateway_readings_missing_today") > 0
    assert plant.gateway.stop() == 0
    plant.gateway.restart()
    plant.goes_on()
    assert plant.gateway.stop() == 0

    def told() -> tuple[dict[Any, int], dict[Any, int]]:
        due = {key: one["sent"] - one["repeated"] - one["dropped"] for key, one in plant.counts().items()}
        return {key: count for key, count in due.items() if count}, plant.stored()

    def is_even() -> bool:
        expected, found = told()
        return expected == found

    try:
        until(is_even, "the sums come out", 30)
    except AssertionError:
        expected, found = told()
        assert found == expected
    assert {device for device, _ in plant.stored()} == set(DEVICES)
    total: dict[str, dict[str, int]] = {}
    for (device, _), row in plant.counts().items():
        of_device = total.setdefault(device, dict.fromkeys(row, 0))
        for name, count in row.items():
            of_device[name] += count
    for device, row in total.items():
        assert row["away"] + row["resting"] > 0, "the device was away"
        suppressed = row["read"] + row["marked"] - row["sent"]
        assert (suppressed > 0) == (device == "quiet"), row
        assert row["marked"] == TAGS, "each tag was said to be bad, once"
        assert 0 < row["receipted"] <= row["sent"]
        assert row["dropped"] == 0


def test_a_killed_gateway_leaves_uncounted_what_it_had_sent_in_an_interval_and_the_sums_come_out(plant: Plant) -> None:
    plant.goes_on()
    until(plant.counts, "something is counted")
    plant.broker.stop(signal.SIGKILL)
    time.sleep(1)
    plant.gateway.stop(signal.SIGKILL)  # with what it had read meanwhile on its disk
    plant.broker.start()
    time.sleep(2)  # in which readings were due that nobody counts
    plant.gateway.restart()
    plant.goes_on()
    plant.ingester.stop(signal.SIGKILL)
    plant.postgres.stop("immediate")
    plant.postgres.start()
    plant.ingester.restart()
    plant.goes_on()
    assert plant.gateway.stop() == 0
    most = TAGS * 10 * (INTERVAL + 4)  # readings a device; with what a busy machine adds to an interval

    def told() -> list[dict[str, Any]]:
        with psycopg.connect(plant.postgres.url, row_factory=class_row(Row)) as connection:
            rows = connection.execute(_ROWS).fetchall()
        return items(rows, Found(plant.stored(), {}, {}), _START, _STOP, datetime.now(UTC))

    def lost(item: dict[str, Any]) -> int:
        """Of what was sent."""
        causes = ("dropped", "not in the database", "unconfirmed")
        return sum(one["count"] for one in item["causes"] if one["cause"] in causes)

    try:
        until(lambda: not any(map(lost, told())), "nothing is lost", 30)
    except AssertionError:
        assert not [one for one in told() if lost(one)]
    found = told()
    for one in found:
        assert one["sent"] + one["uncounted"] == one["stored"] + one["duplicate"], one
    for device in DEVICES:
        assert sum(one["uncounted"] for one in found if one["device"] == device) <= most
        assert any(one["causes"] for one in found if one["device"] == device), "it says when nobody counted"
