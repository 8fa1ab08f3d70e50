"""`nexus verify`: is every point of a load in the table, once, and how long did it take?"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg

from nexus.cli.load import Load
from nexus.contract import topic

_LOOK_SECONDS = 0.005
_WATCHED = 8  # devices whose newest row is looked for
_MOST_NAMED = 10

_NEWEST = "SELECT value, (extract(epoch FROM time) * 1000)::bigint FROM metrics WHERE topic = %s AND time > %s"
# All tags of a scan have its counter, so a topic is whole when it has each number from 1 on, once.
_TOPICS = """
SELECT topic, count(*), count(DISTINCT value), min(value), max(value)
FROM metrics WHERE topic >= %(from)s AND topic < %(to)s AND time >= %(began)s
GROUP BY topic
"""
_COUNT = "SELECT count(*) FROM metrics WHERE topic >= %(from)s AND topic < %(to)s AND time >= %(began)s"


@dataclass
class Report:
    """Points; latencies in seconds from a reading's time until its row was visible, measured while the load ran."""

    expected: int
    found: int = 0
    missing: int = 0
    duplicates: int = 0
    wrong_topics: list[str] = field(default_factory=list)
    latency: dict[str, float] = field(default_factory=dict)
    waited: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.missing or self.duplicates or self.wrong_topics)

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def verify(file: Path, url: str, wait: float) -> Report:
    """Follows a load until it ends, waits up to `wait` seconds without any progress, and counts."""
    with psycopg.connect(url, autocommit=True, application_name="nexus verify", client_encoding="utf8") as connection:
        latencies = _followed(connection, file)
        load = Load.read(file)
        waited = _waited(connection, load, wait)
        report = _counted(connection, load)
        report.waited = round(waited, 3)
        report.latency = _percentiles(latencies)
        return report


def _followed(connection: "psycopg.Connection[tuple[object, ...]]", file: Path) -> list[float]:
    """While the load runs: the age at which a watched row is seen first."""
    load = Load.read(file)
    watched = [
        topic.tag(load.device(number), load.tag(0))
        for number in range(0, load.devices, max(1, load.devices // _WATCHED))
    ]
    seen = dict.fromkeys(watched, "epoch")
    found: list[float] = []
    while not (load := Load.read(file)).ended:
        for name in watched:
            rows = connection.execute(_NEWEST, (name, seen[name])).fetchall()
            now = time.time()
            times = [int(str(at)) for _, at in rows]
            if times:
                seen[name] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(max(times) // 1000)) + (
                    f".{max(times) % 1000:03}+00"
                )
                found += [now - at / 1000 for at in times]
        time.sleep(_LOOK_SECONDS)
    return found


def _range(load: Load) -> dict[str, object]:
    began = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(load.began - 1))
    return {"from": f"dev/{load.path}/", "to": f"dev/{load.path}0", "began": began}


def _waited(connection: "psycopg.Connection[tuple[object, ...]]", load: Load, wait: float) -> float:
    """Seconds until all was there, or nothing more came for `wait` seconds."""
    began = last_change = time.monotonic()
    before = -1
    while True:
        row = connection.execute(_COUNT, _range(load)).fetchone()
        count = int(str(row[0])) if row else 0
        now = time.monotonic()
        if count != before:
            before, last_change = count, now
        if count >= load.points or now - last_change > wait:
            return now - began
        time.sleep(0.2)


def _counted(connection: "psycopg.Connection[tuple[object, ...]]", load: Load) -> Report:
    report = Report(load.points)
    expected = {
        topic.tag(load.device(device), load.tag(tag)): scans
        for device, scans in enumerate(load.scans)
        for tag in range(load.tags)
        if scans
    }
    for name, *numbers in connection.execute(_TOPICS, _range(load)):
        rows, distinct, least, most = (int(float(str(number))) for number in numbers)
        scans = expected.pop(str(name), 0)
        report.found += rows
        report.duplicates += rows - distinct
        report.missing += max(0, scans - distinct)
        if (least, most, distinct) != (1, scans, scans) and len(report.wrong_topics) < _MOST_NAMED:
            report.wrong_topics.append(f"{name}: {distinct} of {scans}, from {least} to {most}")
    for name, scans in expected.items():
        report.missing += scans
        if len(report.wrong_topics) < _MOST_NAMED:
            report.wrong_topics.append(f"{name}: nothing of {scans}")
    return report


def _percentiles(latencies: list[float]) -> dict[str, float]:
    if not latencies:
        return {}
    ordered = sorted(latencies)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in _SHARES.items()}
    return {"rows": len(ordered)} | {name: round(value, 4) for name, value in at.items()}


_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
