"""Numbers of consumers: who has one keeps it, who died gives it up, and nobody else can take any."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from zlib import crc32

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ingestion.consume.slot import SLOTS, Slot, SlotLostError
from tests.conftest import TIERS, Production
from tests.parts import as_role

tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)


@asynccontextmanager
async def claimed(url: str, group: str = "ingestion") -> AsyncIterator[Slot]:
    slot = Slot(url, group)
    async with asyncio.timeout(20):
        await slot.claim()
    yield slot
    await slot.release()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def end(owner: str) -> None:
    """The server ends all consumers' connections, and is rid of them when this returns."""
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'nexus consumer %' AND datname = current_database()"
        )


async def test_who_watches_a_number_says_when_the_database_is_silent(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.consume.slot.CHECK_SECONDS", 0.2)

    async with claimed(as_role(database, "nexus_writer")) as slot:
        keeping = asyncio.create_task(slot.keep(lambda: 1.5))
        with psycopg.connect(database) as other:
            other.execute("LOCK TABLE consumers")
            await until(lambda: slot.away == "no answer")
        await until(lambda: slot.away is None)
        with psycopg.connect(database, autocommit=True) as other:
            said = "SELECT lag FROM consumers WHERE lag_at > now() - INTERVAL '10 s'"
            await until(lambda: other.execute(said).fetchall() == [(1.5,)])
        keeping.cancel()


@tiers
async def test_a_number_is_the_lowest_that_no_other_of_the_group_has(database: str) -> None:
    url = as_role(database, "nexus_writer")
    async with claimed(url) as first, claimed(url) as second, claimed(url, "another") as other:
        assert (first.number, second.number, other.number) == (0, 1, 0)
        await first.release()
        async with claimed(url) as third:
            assert third.number == 0
            await second.hold()


async def test_a_number_comes_back_after_an_outage_unless_another_was_faster(database: str) -> None:
    url = as_role(database, "nexus_writer")
    async with claimed(url) as first:
        end(database)
        await first.hold()
        async with claimed(url) as second:
            assert (first.number, second.number) == (0, 1)
        end(database)
        async with claimed(url) as third:
            assert third.number == 0
            with pytest.raises(SlotLostError):
                await first.hold()
            await third.hold()


async def test_one_that_holds_every_advisory_lock_stops_no_consumer(production: Production) -> None:
    with psycopg.connect(production.owner) as owner:  # where no superuser migrates, everybody may do this
        owner.execute("GRANT EXECUTE ON FUNCTION pg_advisory_lock(int, int) TO nexus_reader")
    with psycopg.connect(production.reader) as reader:
        reader.execute(
            "SELECT pg_advisory_lock(%s, number) FROM generate_series(0, %s) AS number",
            (crc32(b"ingestion") - 2**31, SLOTS),
        )
        async with claimed(production.writer) as slot:
            assert slot.number == 0


async def test_a_reader_can_neither_hold_the_numbers_nor_pass_for_a_consumer(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("ALTER ROLE nexus_reader LOGIN")
    reader_url = make_conninfo(database, user="nexus_reader")

    url = as_role(database, "nexus_writer")
    async with claimed(url) as first:
        with psycopg.connect(reader_url, autocommit=True) as reader:
            for forbidden in (
                "LOCK TABLE consumers IN ROW SHARE MODE",
                "SELECT * FROM consumers FOR UPDATE",
                "DELETE FROM consumers",
                "SELECT claim_number('ingestion', 0, 256)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                    reader.execute(forbidden.encode())
            names = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'nexus consumer %'"
            for (name,) in reader.execute(names).fetchall():
                reader.execute("SELECT set_config('application_name', %s, false)", (name,))
            await first.release()
            async with claimed(url) as second:
                assert second.number == 0
