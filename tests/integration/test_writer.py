"""Rows into real tables: once each, and none lost by its neighbour."""

import asyncio
import json
import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import time
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ingestion.consume.batch import Batch, Reject
from ingestion.decode.rows import Encoder, Rows, Window, parsed
from ingestion.store.database import BatchRefusedError, ClocksApartError, DatabaseAwayError, TooSlowError
from ingestion.store.exact import ExactInsert
from ingestion.store.lateness import ask
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from ingestion.store.writer import Writer
from nexus.contract.audit import Record
from nexus.contract.codec import Message
from nexus.contract.reading import Value
from tests.conftest import TIERS
from tests.parts import as_role

NOW = int(time() * 1000)
tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)
Content = tuple[str, str | None, int, Value, int]  # topic, unit, time, value, quality


def rows(*contents: Content) -> Rows:
    found, encoder = Rows(), Encoder()
    for topic, unit, at, value, quality in contents:
        message = Message(topic, at, {"": value}, {"": quality}, {"": unit} if unit else {})
        assert encoder.encode(message, Window(0, 0, NOW + 10_000_000), found, Rows()) == []
    return found


def series(count: int, topic: str = "dev/a/t", start: int = NOW) -> list[Content]:
    return [(topic, "°C", start + at, float(at), 192) for at in range(count)]


def contradicted(contents: list[Content]) -> list[Content]:
    return [(topic, unit, at, -1.0, quality) for topic, unit, at, _, quality in contents]


def write(url: str, *batches: list[Content], late: list[Content] | None = None) -> list[Written]:
    async def scenario() -> list[Written]:
        async with Writer(as_role(url, "nexus_writer"), ExactInsert()) as writer:
            return [await writer.write(Batch(rows(*batch), rows(*(late or [])))) for batch in batches]

    return asyncio.run(scenario())


def write_batch(url: str, batch: Batch) -> Written:
    async def scenario() -> Written:
        async with Writer(as_role(url, "nexus_writer"), ExactInsert()) as writer:
            return await writer.write(batch)

    return asyncio.run(scenario())


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(text).fetchall()


@tiers
def test_every_kind_of_row_comes_back_as_it_went_in(database: str) -> None:
    batch: list[Content] = [
        ("dev/a/float", "°C", NOW, 84.5, 192),
        ("dev/a/text", None, NOW, "größe\n\\", 64),
        ("dev/a/bad", "V", NOW, None, 0),
        ("dev/a/big", "Wh", NOW, 2**60, 216),
        ("dev/a/flag", None, NOW, True, 192),
        ("dev/a/old", None, 0, -0.0, 192),
    ]
    assert write(database, batch) == [Written(6, 0, 0)]
    found = query(database, "SELECT topic, unit, time, value, value_str, quality FROM metrics")
    expected = [
        ("dev/a/float", "°C", NOW, 84.5, None, 192),
        ("dev/a/text", None, NOW, None, "größe\n\\", 64),
        ("dev/a/bad", "V", NOW, None, None, 0),
        ("dev/a/big", "Wh", NOW, 2.0**60, "1152921504606846976", 216),
        ("dev/a/flag", None, NOW, 1.0, None, 192),
        ("dev/a/old", None, 0, -0.0, None, 192),
    ]
    assert sorted(found) == sorted((*row[:2], datetime.fromtimestamp(row[2] / 1000, UTC), *row[3:]) for row in expected)
    assert sorted(parsed(row) for row in rows(*batch).in_order()) == sorted(expected)


@tiers
def test_repetitions_are_stored_once_and_counted(database: str) -> None:
    assert write(database, series(100), series(100), series(150), series(160)[150:]) == [
        Written(100, 0, 0),
        Written(0, 100, 0),
        Written(50, 100, 0),
        Written(10, 0, 0),
    ]
    assert query(database, "SELECT count(*) FROM metrics") == [(160,)]


@tiers
def test_another_value_for_the_same_moment_is_set_aside_and_not_taken_for_a_repetition(database: str) -> None:
    first = series(100)
    assert write(database, first, first[:10] + contradicted(first[10:13]), contradicted(series(2, "dev/b/t")) * 2) == [
        Written(100, 0, 0),
        Written(0, 10, 3, 3),
        Written(2, 2, 0),
    ]
    twice = series(1, "dev/c/t") + contradicted(series(1, "dev/c/t"))
    assert write(database, twice) == [Written(1, 0, 1, 1)]
    found = query(database, "SELECT topic, reason, payload FROM rejects ORDER BY id")
    assert [topic for topic, _, _ in found] == ["dev/a/t"] * 3 + ["dev/c/t"]
    assert all("another value at the same time" in reason for _, reason, _ in found)
    kept = [json.loads(bytes(payload)) for _, _, payload in found[:3]]
    assert sorted(one["ts"] for one in kept) == [NOW + at for at in (10, 11, 12)]
    assert {(one["v"], one["u"]) for one in kept} == {(-1.0, "°C")}


@tiers
def test_a_repetition_within_a_batch_is_stored_once(database: str) -> None:
    assert write(database, series(10) + series(10)) == [Written(10, 10, 0)]


@tiers
def test_a_row_that_the_database_refuses_costs_only_itself(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    batch = [*series(500), *series(500, "dev/b/t")]
    assert write(database, batch, series(500)) == [Written(998, 0, 2), Written(0, 499, 1)]
    found = query(database, "SELECT topic, reason, payload FROM rejects ORDER BY id")
    assert [topic for topic, _, _ in found] == ["dev/a/t", "dev/b/t"], "delivered again, it is no second reject"
    assert all(
        "the database refused it: new row" in reason and b"13.0" in bytes(payload) for _, reason, payload in found
    )


@tiers
def test_a_lock_on_the_table_is_an_outage_and_an_empty_batch_finds_it(database: str) -> None:
    url = as_role(database, "nexus_writer")

    async def scenario() -> None:
        async with Writer(url, ExactInsert()) as writer:
            for batch in (Batch(rows(*series(1))), Batch()):
                await writer.write(batch)
                assert writer._connection is not None
                [waits] = await (await writer._connection.execute("SHOW lock_timeout")).fetchone() or [""]
                assert waits == "10s"
                await writer._connection.execute("SET lock_timeout = '200ms'")
                with psycopg.connect(database) as other:
                    other.execute("LOCK TABLE metrics IN SHARE ROW EXCLUSIVE MODE")
                    with pytest.raises(DatabaseAwayError, match="lock timeout") as caught:
                        await writer.write(batch)
                assert not isinstance(caught.value, TooSlowError)
            await writer.write(Batch(rows(*series(2))))

    asyncio.run(scenario())
    assert query(database, "SELECT count(*) FROM metrics") == [(2,)]


def test_a_time_limit_of_the_role_does_not_hold_for_ingesters(database: str) -> None:
    with psycopg.connect(database) as owner:
        owner.execute(
            sql.SQL("ALTER DATABASE {} SET statement_timeout = '1ms'").format(sql.Identifier(owner.info.dbname))
        )
    assert write(database, series(5_000)) == [Written(5_000, 0, 0)]


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_what_the_server_cancels_is_too_much_at_once(database: str, limit: str) -> None:
    async def scenario() -> None:
        async with Writer(as_role(database, "nexus_writer"), ExactInsert()) as writer:
            await writer.write(Batch())
            assert writer._connection is not None
            if limit == "transaction_timeout" and writer._connection.info.server_version < 170_000:
                pytest.skip("PostgreSQL 17 was the first to have it")
            await writer._connection.execute(f"SET {limit} = '200ms'")
            with psycopg.connect(database) as other:
                other.execute("LOCK TABLE metrics IN SHARE ROW EXCLUSIVE MODE")
                with pytest.raises(TooSlowError) as caught:
                    await writer.write(Batch(rows(*series(2))))
            assert caught.value.cancelled
            await writer.write(Batch(rows(*series(2))))

    asyncio.run(scenario())
    assert query(database, "SELECT count(*) FROM metrics") == [(2,)]


@tiers
def test_rows_that_the_quota_has_no_room_for_are_named(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")

    async def scenario() -> list[Written]:
        async with Writer(as_role(database, "nexus_writer"), ExactInsert(Quota(1))) as writer:
            batches: list[list[Content]] = [series(2), contradicted(series(2)), [("dev/b/t", None, NOW, 13.0, 192)]]
            return [await writer.write(Batch(rows(*batch))) for batch in batches]

    first, second, third = asyncio.run(scenario())
    assert (first.lost, third.lost) == (frozenset(), frozenset({("dev/b/t", NOW)}))
    assert (second.rejects, second.conflicts, len(second.lost)) == (1, 1, 1)
    assert second.lost < {("dev/a/t", NOW), ("dev/a/t", NOW + 1)}


@tiers
def test_topics_are_listed_and_have_a_last_value(database: str) -> None:
    write(database, [*series(50), *series(3, "dev/b/t")], [*series(5, "dev/c/t"), *series(1, start=NOW - 1000)])
    assert query(database, "SELECT topic FROM topics ORDER BY 1") == [("dev/a/t",), ("dev/b/t",), ("dev/c/t",)]
    last = query(database, "SELECT topic, value, quality, unit FROM metrics_latest ORDER BY 1")
    assert last == [("dev/a/t", 49.0, 192, "°C"), ("dev/b/t", 2.0, 192, "°C"), ("dev/c/t", 4.0, 192, "°C")]


def test_rejects_are_kept_with_their_reason(database: str) -> None:
    assert write_batch(database, Batch(rejects=[Reject("dev/a\0b", b"\xff\x00", "not ours \0")])) == Written(0, 0, 1)
    [(topic, payload, reason)] = query(database, "SELECT topic, payload, reason FROM rejects")
    assert (topic, bytes(payload), reason) == ("dev/a�b", b"\xff\x00", "not ours �")


def test_a_reject_is_stored_once_however_often_it_is_delivered(database: str) -> None:
    numbered = Reject("dev/a", b"{1", "no", arrived=NOW, publisher="0f" * 16)
    unnumbered = Reject("dev/a", b"21,5", "no", arrived=NOW)
    write_batch(database, Batch(rejects=[numbered, unnumbered]))
    later = [replace(one, arrived=NOW + 1000) for one in (numbered, unnumbered)]
    write_batch(database, Batch(rejects=[unnumbered, *later, replace(numbered, topic="dev/b")]))
    found = query(database, "SELECT topic, payload, extract(epoch FROM time) * 1000 FROM rejects ORDER BY id")
    assert [(topic, bytes(payload), time) for topic, payload, time in found] == [
        ("dev/a", b"{1", NOW),
        ("dev/a", b"21,5", NOW),
        ("dev/a", b"21,5", NOW + 1000),  # it has no time of its own: it is another value
        ("dev/b", b"{1", NOW),
    ]


def test_an_error_of_the_data_does_not_cost_the_connection(database: str) -> None:
    broken = Batch(records=[Record("a", NOW, "\ud800", "write", None, True, "{}")])
    refused = Batch(records=[Record("a", NOW, "audit/a", "write", None, True, '{"a": 1e999999}')])

    async def scenario() -> list[int]:
        pids = []
        async with Writer(as_role(database, "nexus_writer"), ExactInsert()) as writer:
            for batch in (Batch(), refused, broken, Batch(rows(*series(1)))):
                with suppress(BatchRefusedError):
                    await writer.write(batch, attempts=1)
                assert writer._connection is not None
                pids.append(writer._connection.info.backend_pid)
        return pids

    assert len(set(asyncio.run(scenario()))) == 1
    assert query(database, "SELECT count(*) FROM metrics") == [(1,)]


def test_rejects_are_bounded_whatever_is_in_them(database: str) -> None:
    letters = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8_000))  # does not compress
    hostile = Reject("dev/" + letters, letters.encode() * 200, letters, letters, ("a\0", "\ud800"), NOW)
    assert write_batch(database, Batch(rejects=[hostile, Reject("\ud800", b"", "\ud800")])) == Written(0, 0, 2)
    sizes = (
        "SELECT length(topic), length(source), length(reason), length(payload), tags FROM rejects ORDER BY id LIMIT 1"
    )
    [(topic, source, reason, payload, tags)] = query(database, sizes)
    assert (topic, source, payload, tags) == (2_000, 2_000, 1_000_000, ["a�", "?"])
    assert reason < 700
    [(said,)] = query(database, "SELECT reason FROM rejects ORDER BY id LIMIT 1")
    assert said.endswith(" bytes only the first 1,000,000 are kept: it cannot be tried again)")
    assert query(database, "SELECT extract(epoch FROM time) * 1000 FROM rejects ORDER BY id LIMIT 1") == [(NOW,)]


def test_an_error_that_is_no_outage_and_not_of_the_data_is_not_tried_for_ever(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'tripped'; END $$;"
            " CREATE TRIGGER trip BEFORE INSERT ON metrics FOR EACH ROW WHEN (NEW.value = 13) EXECUTE FUNCTION trip()"
        )
    with pytest.raises(BatchRefusedError, match="tripped"):
        write(database, series(20))
    assert write(database, series(5)) == [Written(5, 0, 0)]


def test_rows_of_more_days_than_can_be_locked_at_once_are_written_in_parts(database: str) -> None:
    """A few tags with source times years apart would else hold up a writer for good, where each day is a chunk."""
    days = [("dev/a/t", None, NOW - day * 86_400_000, float(day), 192) for day in range(200)]
    write(database, [("dev/a/t", None, NOW - 7 * 86_400_000, 0.5, 192)])
    with psycopg.connect(database) as connection:
        connection.execute(
            """
            CREATE FUNCTION too_many() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF (SELECT count(DISTINCT date_trunc('day', time, 'UTC')) FROM came) > 60 THEN
                    RAISE EXCEPTION USING ERRCODE = '53200', MESSAGE = 'out of shared memory';
                END IF;
                RETURN NULL;
            END $$
            """
        )
        connection.execute(
            "CREATE TRIGGER too_many AFTER INSERT ON metrics REFERENCING NEW TABLE AS came"
            " FOR EACH STATEMENT EXECUTE FUNCTION too_many()"
        )
    written = write_batch(database, Batch(rows(*days), rejects=[Reject("dev/b", b"x", "wrong")]))
    assert (written.rows, written.duplicates, written.rejects, written.conflicts) == (199, 0, 2, 1)
    assert query(database, "SELECT count(*) FROM metrics") == [(200,)]


def test_an_error_of_ours_is_not_taken_for_an_outage(database: str) -> None:
    broken = Batch(records=[Record("a", NOW, "\ud800", "write", None, True, "{}")])
    with pytest.raises(BatchRefusedError, match="UnicodeEncodeError"):
        write_batch(database, broken)


@tiers
def test_audit_records_are_stored_once(database: str) -> None:
    record = Record("ab" * 16, NOW, "audit/a/t", "write", "anna", True, '{"value": 5}')
    write_batch(database, Batch(records=[record]))
    write_batch(database, Batch(rows(*series(3)), records=[record]))
    write_batch(database, Batch(rows(*series(3)), records=[record]))
    found = query(database, "SELECT extract(epoch FROM time) * 1000, id, topic, event, by, ok, detail FROM audit")
    assert found == [(NOW, "ab" * 16, "audit/a/t", "write", "anna", True, {"value": 5})]
    with psycopg.connect(as_role(database, "nexus_reader")) as reader:
        assert reader.execute("SELECT by FROM audit").fetchall() == [("anna",)]


def test_a_database_without_the_schema_is_away_and_says_the_remedy(empty_database: str) -> None:
    with pytest.raises(DatabaseAwayError, match="run `nexus db migrate`"):
        write(empty_database, series(1))


@pytest.mark.parametrize(("hours", "said"), [(2, "120 minutes ahead of"), (-2, "120 minutes behind")])
def test_a_clock_far_from_the_databases_judges_no_time(
    database: str, monkeypatch: pytest.MonkeyPatch, hours: int, said: str
) -> None:
    monkeypatch.setattr("ingestion.store.lateness.time", lambda: time() + hours * 3600)
    with pytest.raises(ClocksApartError, match=said):
        asyncio.run(ask(as_role(database, "nexus_writer")))
    monkeypatch.setattr("ingestion.store.lateness.time", lambda: time() + 1000)
    assert asyncio.run(ask(as_role(database, "nexus_writer"))).late_before_ms < NOW


async def test_a_killed_connection_is_made_anew(database: str) -> None:
    async with Writer(as_role(database, "nexus_writer"), ExactInsert()) as writer:
        await writer.write(Batch(rows(*series(1))))
        with psycopg.connect(database, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'nexus ingest' AND datname = current_database()"
            )
        with pytest.raises(DatabaseAwayError):
            await writer.write(Batch(rows(*series(2))))
        assert await writer.write(Batch(rows(*series(2)))) == Written(1, 1, 0)


def test_two_writers_with_the_same_rows_do_not_block_each_other(database: str) -> None:
    async def scenario() -> None:
        batches = [[*series(2000, f"dev/{n}/t"), *series(2000, "dev/common/t")] for n in range(6)]
        async with (
            Writer(as_role(database, "nexus_writer"), ExactInsert()) as one,
            Writer(as_role(database, "nexus_writer"), ExactInsert()) as two,
            Writer(as_role(database, "nexus_writer"), ExactInsert()) as three,
        ):
            for _ in range(2):
                for at in range(0, 6, 3):
                    writing = zip((one, two, three), batches[at : at + 3], strict=True)
                    await asyncio.gather(*(w.write(Batch(rows(*batch))) for w, batch in writing))

    asyncio.run(scenario())
    assert query(database, "SELECT count(*) FROM metrics") == [(14_000,)]


def test_nothing_is_written_when_the_server_is_not_there() -> None:
    with pytest.raises(DatabaseAwayError):
        write("postgresql://127.0.0.1:1/x?connect_timeout=1", series(1))
