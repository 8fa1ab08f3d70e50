"""The database of rules: what it would refuse for ever costs itself alone."""

import asyncio
from random import Random

from ingestion.rules.engine import Said, Update
from ingestion.rules.evaluation import RuleState, encode_state
from ingestion.rules.store import opened
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


def test_an_offer_of_receipts_is_remembered(database: str) -> None:
    async def run() -> list[bool]:
        found = []
        for _ in range(2):
            async with opened(as_role(database, "nexus_rules"), "g", lambda: None) as store:
                found.append((await store.load()).offered)
                await store.remember_offer()
        return found

    assert asyncio.run(run()) == [False, True]
