"""Bulk mode: exactly once by the messages' numbers, on a table without a unique index."""

import asyncio
import json
import time

import psycopg
import pytest

from db.migrate import connect, migrate
from db.settings import Settings as DatabaseSettings
from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders, Rule
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import Window
from ingestion.store.bulk import BulkInsert
from ingestion.store.database import DatabaseAwayError
from ingestion.store.exact import ExactInsert
from ingestion.store.quota import Quota
from ingestion.store.tables import Written
from ingestion.store.writer import Writer
from nexus.process.errors import ConfigError
from tests.deliveries import delivery
from tests.integration.test_historian_tools import run
from tests.integration.test_writer import query
from tests.parts import as_role, until

community = pytest.mark.parametrize(
    "empty_database", [pytest.param("community", marks=pytest.mark.timescale)], indirect=True
)
NOW = int(time.time() * 1000)
ONE, TWO = "01" * 16, "02" * 16


@pytest.fixture
def bulk_database(empty_database: str) -> str:
    with connect(empty_database) as connection:
        migrate(connection, DatabaseSettings(ingest_mode="bulk"))
    return empty_database


def message(first: int, count: int = 1, publisher: str | None = ONE, **values: object) -> bytes:
    content: dict[str, object] = {
        "ts": NOW,
        "v": values or {f"t{number}": number for number in range(first, first + count)},
    }
    if publisher:
        content |= {"p": publisher, "n": first, "m": first + count - 1}
    return json.dumps(content).encode()


def batch(encoding: Encoding, *payloads: bytes) -> Batch:
    found = Batch()
    for payload in payloads:
        found.windows.append(Window.at(NOW, 0))
        found.deliveries.append(delivery("dev/x", payload))
        encoding.add(found, "dev/x", payload, Window.at(NOW, 0))
    return found


def written(url: str, *batches: list[bytes]) -> list[Written]:
    async def scenario() -> list[Written]:
        encoding = Encoding(Decoders([]))
        async with Writer(as_role(url, "nexus_writer"), BulkInsert(encoding)) as writer:
            return [await writer.write(batch(encoding, *payloads)) for payloads in batches]

    return asyncio.run(scenario())


@community
def test_a_number_is_stored_once_however_it_comes(bulk_database: str) -> None:
    assert written(
        bulk_database,
        [message(1, 10), message(11, 10)],
        [message(1, 10), message(21, 5)],  # one again, one new
        [message(30, 2), message(30, 2)],  # twice in a batch
        [message(24, 4)],  # two of four again
        [message(1, 3, TWO)],  # another publisher's numbers are its own
        [message(1, 3, None), message(1, 3, None)],  # nobody can tell
    ) == [
        Written(20, 0, 0),
        Written(5, 10, 0),
        Written(2, 2, 0),
        Written(2, 2, 0),
        Written(3, 0, 0),
        Written(6, 0, 0),
    ]
    once = "SELECT count(*), count(DISTINCT topic) FROM metrics WHERE topic >= 'dev/x/t4'"
    assert query(bulk_database, once)[0][0] == query(bulk_database, once)[0][1]
    booked = "SELECT first, last FROM committed WHERE publisher = '" + ONE + "' ORDER BY 1"
    assert query(bulk_database, booked) == [(0, 27), (30, 31)]


@community
def test_what_is_refused_and_not_kept_is_not_booked(bulk_database: str) -> None:
    with psycopg.connect(bulk_database) as connection:
        connection.execute("ALTER TABLE metrics ADD CONSTRAINT odd CHECK (value IS DISTINCT FROM 13)")

    async def scenario() -> list[Written]:
        encoding = Encoding(Decoders([]))
        async with Writer(as_role(bulk_database, "nexus_writer"), BulkInsert(encoding, Quota(0))) as writer:
            first = await writer.write(batch(encoding, message(12, 3)))
            with psycopg.connect(bulk_database) as connection:
                connection.execute("ALTER TABLE metrics DROP CONSTRAINT odd")
            return [first, await writer.write(batch(encoding, message(12, 3)))]

    assert asyncio.run(scenario()) == [
        Written(2, 0, 0, lost=frozenset({("dev/x/t13", NOW)})),
        Written(1, 2, 0),
    ]
    assert query(bulk_database, "SELECT value FROM metrics ORDER BY 1") == [(12.0,), (13.0,), (14.0,)]


@community
def test_large_batches_are_compressed_at_once_and_small_ones_not(bulk_database: str) -> None:
    compressed = (
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics' AND is_compressed"
    )
    written(bulk_database, [message(1, 10)])
    assert query(bulk_database, compressed) == [(0,)]
    many = [
        json.dumps(
            {
                "ts": NOW - number * 10,
                "v": {f"t{tag}": number for tag in range(100)},
                "p": ONE,
                "n": number * 100,
                "m": number * 100 + 99,
            }
        ).encode()
        for number in range(1, 301)
    ]
    assert written(bulk_database, many, many) == [Written(30_000, 0, 0), Written(0, 30_000, 0)]
    assert query(bulk_database, compressed) == [(1,)]
    assert query(bulk_database, "SELECT count(*) FROM metrics") == [(30_010,)]
    [(late_before,)] = query(bulk_database, "SELECT late_before()")
    assert late_before.timestamp() < NOW / 1000 - 3600, "what comes next would be late"


@community
def test_two_writers_with_the_same_messages_store_them_once(bulk_database: str) -> None:
    async def scenario() -> list[Written]:
        encoding = Encoding(Decoders([]))
        payloads = [message(number * 10, 10, publisher) for number in range(1, 201) for publisher in (ONE, TWO)]
        async with (
            Writer(as_role(bulk_database, "nexus_writer"), BulkInsert(encoding)) as one,
            Writer(as_role(bulk_database, "nexus_writer"), BulkInsert(encoding)) as two,
        ):
            same = [writer.write(batch(encoding, *payloads)) for writer in (one, two)]
            return await asyncio.gather(*same)

    found = asyncio.run(scenario())
    assert sorted(one.rows for one in found) == [0, 4000]
    assert query(bulk_database, "SELECT count(*) FROM metrics") == [(4000,)]


@community
def test_two_writers_with_repetitions_of_a_new_publisher_store_them_once(bulk_database: str) -> None:
    """Nothing is booked for it yet, so that there is no row to lock."""

    async def scenario(publisher: str) -> list[Written]:
        encoding = Encoding(Decoders([]))
        payloads = [message(number * 10, 10, publisher) for number in range(1, 50)] * 2
        url = as_role(bulk_database, "nexus_writer")
        async with Writer(url, BulkInsert(encoding)) as one, Writer(url, BulkInsert(encoding)) as two:
            await asyncio.gather(one.write(Batch()), two.write(Batch()))  # both are connected
            return await asyncio.gather(*(writer.write(batch(encoding, *payloads)) for writer in (one, two)))

    for round_ in range(8):
        found = asyncio.run(scenario(f"{round_:032x}"))
        assert sorted(one.rows for one in found) == [0, 490]


@community
def test_numbers_that_cannot_be_poison_nothing(bulk_database: str) -> None:
    whole = json.loads(message(1, 10))
    hostile = [
        json.dumps({**whole, **numbers}).encode()
        for numbers in ({"n": 1, "m": 2**63 - 2}, {"p": "a\0b"}, {"p": "p" * 9_000}, {"n": 2**63 - 1, "m": 2**63 + 8})
    ]
    assert written(bulk_database, hostile, [message(1, 10)]) == [Written(40, 0, 0), Written(10, 0, 0)]
    assert query(bulk_database, "SELECT publisher, first, last FROM committed") == [(ONE, 0, 10)]


def fragmented(url: str, count: int) -> None:
    """Every third number is booked, of one publisher."""
    query(
        url,
        f"INSERT INTO committed SELECT '{TWO}', 0, 0 UNION ALL SELECT '{TWO}', n * 3, n * 3"
        f" FROM generate_series(1, {count}) AS n RETURNING 1",
    )


@community
def test_what_a_batch_costs_does_not_depend_on_what_was_booked_before(bulk_database: str) -> None:
    """A gateway can leave gaps between its numbers as it likes, and everybody would pay for it with each batch."""
    gaps = [message(3_000 + number * 3 + 1, 1, TWO) for number in range(50)]
    written(bulk_database, [message(1, 10)])
    fragmented(bulk_database, 300_000)
    with psycopg.connect(bulk_database) as connection:
        connection.execute("ANALYZE committed")  # as autovacuum does, sooner or later
        connection.execute("SELECT pg_stat_reset_single_table_counters('committed'::regclass)")
    assert written(bulk_database, [*gaps, message(11, 10)], [*gaps, message(11, 20)]) == [
        Written(60, 0, 0),
        Written(10, 60, 0),
    ]
    read = "SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'committed'"
    until(lambda: query(bulk_database, read)[0][0] > 0, "the counters are there")
    assert query(bulk_database, read)[0][0] < 2_000


@community
def test_numbers_are_forgotten_with_the_readings(bulk_database: str) -> None:
    written(bulk_database, [message(1, 10)], [message(1, 10, TWO)])
    query(
        bulk_database,
        f"UPDATE committed SET changed = now() - interval '92 days' WHERE publisher = '{TWO}' RETURNING 1",
    )
    query(
        bulk_database,
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"
        " WHERE proc_name = 'forget_committed'",
    )
    with psycopg.connect(bulk_database, autocommit=True) as connection:
        connection.execute("CALL forget_committed(NULL, '{\"days\": 90}')")
    assert query(bulk_database, "SELECT publisher, last FROM committed") == [(ONE, 10)]


@community
def test_a_repetition_beside_them_leaves_messages_without_a_time_where_they_arrived(bulk_database: str) -> None:
    """A batch with a repetition is decoded again: what has no time of its own came when it came."""

    async def scenario() -> Written:
        encoding = Encoding(Decoders([Rule(topic="plain/#", decoder="plain")]))
        found = batch(encoding, message(1, 10), message(1, 10))
        for later in (10, 20, 30):
            window = Window.at(NOW + later, 0)
            found.deliveries.append(delivery("plain/a", b"%d" % later, arrived=NOW + later))
            found.windows.append(window)
            encoding.add(found, "plain/a", b"%d" % later, window)
        async with Writer(as_role(bulk_database, "nexus_writer"), BulkInsert(encoding)) as writer:
            return await writer.write(found)

    assert asyncio.run(scenario()) == Written(13, 10, 0)
    times = (
        "SELECT round(extract(epoch FROM time) * 1000)::bigint, value FROM metrics WHERE topic = 'plain/a' ORDER BY 1"
    )
    assert query(bulk_database, times) == [(NOW + later, later) for later in (10, 20, 30)]


@community
def test_a_writer_can_book_and_may_not_read_the_book(bulk_database: str) -> None:
    """It names the publishers, which nobody should know but they and those whom they tell."""
    written(bulk_database, [message(1, 10)])
    for text in ("SELECT * FROM committed", "DELETE FROM committed", "SELECT overlapping('{x}', '{1}', '{1}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(as_role(bulk_database, "nexus_writer"), text)


@community
def test_a_row_that_is_refused_costs_only_itself(bulk_database: str) -> None:
    with connect(bulk_database) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
    assert written(bulk_database, [message(1, 20)], [message(1, 20)]) == [Written(19, 0, 1), Written(0, 20, 0)]
    assert query(bulk_database, "SELECT topic FROM rejects") == [("dev/x/t13",)]


@community
def test_a_retry_that_is_refused_again_costs_only_itself(bulk_database: str) -> None:
    with connect(bulk_database) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (value IS DISTINCT FROM 13)")
        for value in (12, 13, 14):
            payload = json.dumps({"v": value, "ts": NOW}).encode()
            connection.execute(
                "INSERT INTO rejects (topic, payload, reason) VALUES (%s, %s, 'x')", (f"dev/t{value}", payload)
            )
    wrong = run(bulk_database, "rejects", "retry")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "NEXUS_INGEST_MODE" in wrong.stderr
    assert run(bulk_database, "rejects", "retry", ingest_mode="bulk").stdout == "2 stored, 1 still refused\n"
    assert query(bulk_database, "SELECT topic FROM metrics ORDER BY 1") == [("dev/t12",), ("dev/t14",)]
    assert query(bulk_database, "SELECT topic, reason <> 'x' FROM rejects") == [("dev/t13", True)]


@community
def test_the_modes_of_ingester_and_table_must_fit(bulk_database: str) -> None:
    async def exact() -> None:
        async with Writer(as_role(bulk_database, "nexus_writer"), ExactInsert()) as writer:
            await writer.write(Batch())

    with pytest.raises(DatabaseAwayError, match="NEXUS_INGEST_MODE"):
        asyncio.run(exact())
    with connect(bulk_database) as connection:
        migrate(connection, DatabaseSettings())  # the mode is not given, so it stays
        with pytest.raises(ConfigError, match="the way back"):
            migrate(connection, DatabaseSettings(ingest_mode="exact"))


def test_bulk_mode_needs_the_columnstore(database: str) -> None:
    with connect(database) as connection, pytest.raises(ConfigError, match="Community"):
        migrate(connection, DatabaseSettings(ingest_mode="bulk"))
