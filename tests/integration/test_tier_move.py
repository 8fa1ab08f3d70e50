"""Moving a historian to another tier, by the commands that the documentation shows."""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.test_historian_tools import client_programs
from tests.integration.test_writer import Content, query, series, write
from tests.parts import until

PAGE = Path(__file__).parents[2] / "docs/operations/database.md"
MOVED = (
    "SELECT time, topic, value, value_str, quality, unit FROM metrics ORDER BY topic, time",
    "SELECT time, topic, payload, reason, source, tags, key FROM rejects ORDER BY id",
    "SELECT * FROM audit ORDER BY id",
    "SELECT * FROM alarm_events ORDER BY topic, time",
    "SELECT * FROM alarms_now ORDER BY topic",
    "SELECT created, person, topic, device, start, stop, text FROM annotations",
    "SELECT * FROM console_users",
    "SELECT * FROM console_keys",
    "SELECT time, event, person, via, address, topic, old, new, ok, detail FROM console_audit",
    "SELECT * FROM topics ORDER BY topic",
    "SELECT * FROM committed ORDER BY publisher, first",
    "SELECT bucket, topic, count, min, max, last FROM metrics_1hour ORDER BY topic, bucket",
)
DAY = 86_400_000


def commands() -> str:
    """What the page shows under its heading."""
    section = PAGE.read_text().partition("### Moving to another tier")[2].partition("\n## ")[0]
    [block] = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return textwrap.dedent(block)


def content(url: str) -> list[list[tuple[Any, ...]]]:
    return [query(url, text) for text in MOVED]


@pytest.mark.timescale
@pytest.mark.parametrize(
    ("empty_database", "other_database"),
    [("community", "plain"), ("apache", "community"), ("plain", "community"), ("plain", "apache")],
    indirect=True,
)
def test_all_that_is_stored_moves_to_another_tier(database: str, other_database: str, tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    old = series(500, "dev/a/old", now - 20 * DAY)
    odd: list[Content] = [
        ("dev/b/text", None, now, "a\ttab, a \\ and\na line", 64),
        ("dev/b/tenth", None, now, 0.1, 192),
    ]
    is_community = query(database, "SELECT tier FROM nexus_migrations LIMIT 1") == [("community",)]
    write(database, series(500, "dev/a/new", now - 600_000), odd)
    write(database, [] if is_community else old, late=old if is_community else [])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO rejects (topic, payload, reason, tags, key)"
            " VALUES ('dev/x', '\\x00ff', 'no', '{a,\"b,c\"}', gen_random_uuid()), ('dev/y', '', 'no', NULL, NULL)"
        )
        connection.execute("INSERT INTO audit VALUES (now(), '1', 'audit/x/t', 'write', 'anna', true, '{\"v\": 1}')")
        connection.execute(
            "INSERT INTO alarm_events (time, topic, device, tag, name, occurrence, state, since, event, active,"
            " acknowledged, priority, text, response, reason)"
            " SELECT at, 'alarm/x/t/high', 'x', 't', 'high', at, 'unacknowledged', at, 'raised', true, false, 'high', '', '', ''"
            " FROM now() AS at"
        )
        connection.execute("INSERT INTO console_users (name, role, password) VALUES ('anna', 'engineer', 'scrypt$')")
        connection.execute("INSERT INTO console_keys VALUES ('1', 'mes', 'operator', '\\x00', now(), 'anna')")
        connection.execute(
            "INSERT INTO console_audit (event, person, via, address, old, detail)"
            " VALUES ('login', 'anna', 'session', '::1', '{\"a\": 1}', '{}')"
        )
        connection.execute(
            "INSERT INTO annotations (person, topic, start, stop, text) VALUES ('anna', 'dev/x/t', now(), now(), 'why')"
        )
        connection.execute("INSERT INTO committed (publisher, first, last) VALUES ('p', 1, 9)")
    if is_community:
        until(lambda: query(database, "SELECT count(*) FROM metrics_late") == [(0,)], "late rows are moved", 60)
    done = subprocess.run(
        ["bash", "-ec", commands()],
        cwd=tmp_path,
        env={
            "PATH": f"{client_programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OLD": database,
            "NEW": other_database,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"^COPY (\d+)$", done.stdout, re.MULTILINE)
    assert counts[:10] == counts[10:] == ["1002", "2", "1", "1", "1", "1", "1", "1", "4", "1"]
    assert content(other_database) == content(database)
    with psycopg.connect(other_database) as connection:  # its numbering goes on
        connection.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('dev/z', '', 'no')")
