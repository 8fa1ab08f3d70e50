"""`nexus alarms try`: rules of a file, over what the database has."""

import os
from pathlib import Path

import psycopg
import pytest

from tests import forked
from tests.parts import as_role

DEVICES = """
devices:
  - name: plc
    path: plant/plc
    protocol: modbus-tcp
    host: 127.0.0.1
    tags:
      - {name: t, address: "holding:40001:float32", alarms: [{name: high, above: 80, deadband: 2, on_delay: 5s}]}
      - {name: mode, address: "holding:40003:string(8)", alarms: [{name: fault, equals: fault}]}
"""
HISTORY = """
    INSERT INTO metrics
    SELECT t, 'dev/plant/plc/t', CASE WHEN extract(minute FROM t)::int %% 30 < 2 THEN 90 ELSE 50 END, NULL, 192, NULL
    FROM generate_series(%(start)s::timestamptz, %(start)s::timestamptz + interval '3 hours', '10 seconds') t
    UNION ALL
    SELECT %(start)s::timestamptz + interval '1 hour', 'dev/plant/plc/mode', NULL, 'fault', 192, NULL
    UNION ALL
    SELECT %(start)s::timestamptz + interval '2 hours', 'dev/plant/plc/mode', NULL, 'ok', 192, NULL
    UNION ALL
    SELECT %(start)s::timestamptz + interval '1 hour', 'dev/plant/other/t', 90, NULL, 192, NULL
"""


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    file = tmp_path / "plant.yaml"
    file.write_text(DEVICES)
    return file


def tried(url: str, *arguments: str) -> tuple[int, str]:
    done = forked.run(["alarms", "try", *arguments], {**os.environ, "NEXUS_DATABASE_URL": url, "TZ": "UTC"})
    return done.returncode, done.stdout + done.stderr


def test_rules_are_tried_on_the_history_by_whoever_may_only_read(database: str, devices: Path) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(HISTORY, {"start": "2026-11-20T06:00Z"})

    code, text = tried(
        as_role(database, "nexus_reader"), str(devices), "--from", "2026-11-20T06:00", "--to", "2026-11-20T10:00"
    )

    lines = text.splitlines()
    assert code == 0, text
    assert "2026-11-20 06:30:05  plant/plc/t/high (medium): 90, limit 80, for 1 min 55 s" in lines
    assert "2026-11-20 07:00:00  plant/plc/mode/fault (medium): fault, for 1 h" in lines
    assert lines[-3] == "8 alarms, from 1083 readings of 3 h, not of the 4 h asked for"
    assert "too short to judge" in lines[-2]


def test_a_database_without_a_history_is_told_from_one_that_is_away(empty_database: str, devices: Path) -> None:
    code, text = tried(empty_database, str(devices))

    assert (code, "nexus db migrate" in text) == (2, True), text
    assert tried("postgresql://127.0.0.1:1/none", str(devices))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from", "yesterday"], "not a time"),
        (["--from", "1d", "--to", "2d"], "before"),
        (["--device", "plc9"], "plc9"),
    ],
)
def test_what_cannot_be_tried_is_said(devices: Path, arguments: list[str], text: str) -> None:
    code, said = tried("postgresql://127.0.0.1:1/none", str(devices), *arguments)

    assert code == 2
    assert text in said
