"""Rows into real tables: once each, and none lost by its neighbour."""

import asyncio
from datetime import UTC, datetime
from time import time

import psycopg
import pytest

from ingestion.batch import Reject
from ingestion.rows import Row
from ingestion.writer import DatabaseAway, Writer, Written
from tests.conftest import TIERS

NOW = int(time() * 1000)
tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)


def rows(count: int, topic: str = "dev/a/t", start: int = NOW) -> list[Row]:
    return [(topic, "°C", start + at, float(at), None, 192) for at in range(count)]


def write(url: str, *batches: tuple[list[Row], list[Reject]]) -> list[Written]:
    async def scenario() -> list[Written]:
        async with Writer(url) as writer:
            return [await writer.write(*batch) for batch in batches]

    return asyncio.run(scenario())


def query(url: str, text: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(text).fetchall()  # type: ignore[call-overload]


@tiers
def test_every_kind_of_row_comes_back_as_it_went_in(database: str) -> None:
    batch: list[Row] = [
        ("dev/a/float", "°C", NOW, 84.5, None, 192),
        ("dev/a/text", None, NOW, None, "größe\n\\", 64),
        ("dev/a/bad", "V", NOW, None, None, 0),
        ("dev/a/big", "Wh", NOW, 2.0**60, "1152921504606846976", 216),
        ("dev/a/old", None, 0, -0.0, None, 192),
    ]
    assert write(database, (batch, [])) == [Written(5, 0, 0)]
    found = query(database, "SELECT topic, unit, time, value, value_str, quality FROM metrics")
    expected = [(*row[:2], datetime.fromtimestamp(row[2] / 1000, UTC), *row[3:]) for row in batch]
    assert sorted(found) == sorted(expected)


@tiers
def test_repetitions_are_stored_once_and_counted(database: str) -> None:
    assert write(database, (rows(100), []), (rows(100), []), (rows(150), [])) == [
        Written(100, 0, 0),
        Written(0, 100, 0),
        Written(50, 100, 0),
    ]
    assert query(database, "SELECT count(*) FROM metrics") == [(150,)]


@tiers
def test_a_repetition_within_a_batch_is_stored_once(database: str) -> None:
    assert write(database, (rows(10) + rows(10), [])) == [Written(10, 10, 0)]


@tiers
def test_a_row_that_the_database_refuses_costs_only_itself(database: str) -> None:
    # A topic that does not fit into an index page.
    refused: Row = ("dev/" + "".join(chr(0x4E00 + at) for at in range(3000)), None, NOW, 1.0, None, 192)
    batch = [*rows(500), refused, *rows(500, "dev/b/t")]
    assert write(database, (batch, []), (rows(500), [])) == [Written(1000, 0, 1), Written(0, 500, 0)]
    [(topic, reason)] = query(database, "SELECT topic, reason FROM rejects")
    assert topic == refused[0]
    assert "the database refused it" in reason


def test_rejects_are_kept_with_their_reason(database: str) -> None:
    reject = Reject("dev/a\0b", b"\xff\x00", "not ours \0")
    assert write(database, ([], [reject])) == [Written(0, 0, 1)]
    [(topic, payload, reason)] = query(database, "SELECT topic, payload, reason FROM rejects")
    assert (topic, bytes(payload), reason) == ("dev/a�b", b"\xff\x00", "not ours �")


def test_a_database_without_the_schema_is_away_and_says_the_remedy(empty_database: str) -> None:
    with pytest.raises(DatabaseAway, match="run `nexus db migrate`"):
        write(empty_database, (rows(1), []))


def test_a_killed_connection_is_made_anew(database: str) -> None:
    async def scenario() -> None:
        async with Writer(database) as writer:
            await writer.write(rows(1), [])
            with psycopg.connect(database, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'nexus ingest' AND datname = current_database()"
                )
            with pytest.raises(DatabaseAway):
                await writer.write(rows(2), [])
            assert await writer.write(rows(2), []) == Written(1, 1, 0)

    asyncio.run(scenario())


def test_nothing_is_written_when_the_server_is_not_there() -> None:
    with pytest.raises(DatabaseAway):
        write("postgresql://127.0.0.1:1/x?connect_timeout=1", (rows(1), []))
