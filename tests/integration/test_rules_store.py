"""The database of rules: what it would refuse for ever costs itself alone."""

import asyncio
from random import Random

import pytest

from ingestion.rules import store as stores
from ingestion.rules.engine import Said, Update
from ingestion.rules.evaluation import RuleState, encode_state
from ingestion.rules.store import opened
from ingestion.store.database import DatabaseAwayError
from tests.integration.test_writer import query
from tests.parts import as_role


def test_what_the_database_refuses_costs_itself_alone(database: str) -> None:
    name = "".join(Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=6_000))  # more than an index entry takes
    state = encode_state(RuleState(clock=1))
    said = [Said("dev/p/t", b"{}"), Said("dev/p/\0", b"{}"), Said("dev/p/u", b"{}")]
    update = Update({"p": state, name: state}, {"alarm/p/a": b"{}", f"alarm/{name}": b"{}"}, said)

    async def run() -> list[str]:
        async with opened(as_role(database, "nexus_rules"), "g", lambda: None) as store:
            await store.load()
            rows = await store.commit(update, [])
            rows += await store.commit(Update(said=[Said("dev/p/v", b"{}")]), [rows[0].number])
            return [row.topic for row in rows]

    assert asyncio.run(run()) == ["dev/p/t", "dev/p/u", "dev/p/v"]
    assert query(database, "SELECT topic FROM rule_outbox ORDER BY number") == [("dev/p/u",), ("dev/p/v",)]
    assert query(database, "SELECT path FROM rule_states") == [("p",)]
    assert query(database, "SELECT topic FROM rule_alarms") == [("alarm/p/a",)]
    assert query(database, "SELECT last FROM rule_publishers") == [(4,)]


def test_whoever_hangs_loses_the_lock_and_can_write_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SILENT_SECONDS", 2.5)
    url = as_role(database, "nexus_rules")

    async def run() -> None:
        async with opened(url, "g", lambda: None) as hung:
            await hung.load()
            async with asyncio.timeout(30), opened(url, "g", lambda: None) as other:
                await other.load()
                await other.commit(Update(said=[Said("dev/p/t", b"{}")]), [])
                with pytest.raises(DatabaseAwayError):
                    await hung.commit(Update(said=[Said("dev/p/u", b"{}")]), [])

    asyncio.run(run())
    assert query(database, "SELECT topic FROM rule_outbox") == [("dev/p/t",)]


def test_a_statement_that_does_not_end_is_ended(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "STATEMENT_SECONDS", 0.5)

    async def run() -> None:
        async with opened(as_role(database, "nexus_rules"), "g", lambda: None) as store:
            with pytest.raises(DatabaseAwayError, match="statement timeout"):
                async with store._answered():
                    await store._fetch("SELECT pg_sleep(%s)", 60)

    asyncio.run(run())


def test_an_offer_of_receipts_is_remembered(database: str) -> None:
    async def run() -> list[bool]:
        found = []
        for _ in range(2):
            async with opened(as_role(database, "nexus_rules"), "g", lambda: None) as store:
                found.append((await store.load()).offered)
                await store.remember_offer()
        return found

    assert asyncio.run(run()) == [False, True]
