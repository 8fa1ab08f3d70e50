"""One person's part of the database."""

import asyncio

import pytest

from console.turns import TurnError, Turns, asker


async def ask(turns: Turns, person: str, until: asyncio.Event) -> str:
    asker.set(person)
    async with turns.one():
        await until.wait()
    return person


async def test_one_person_has_so_many_turns_at_a_time_and_the_others_have_theirs() -> None:
    turns, over = Turns(2, 0.0), asyncio.Event()
    first = [asyncio.create_task(ask(turns, "vera", over)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TurnError):
        await asyncio.create_task(ask(turns, "vera", over))
    own = [asyncio.create_task(ask(turns, "", over)) for _ in range(5)]
    other = asyncio.create_task(ask(turns, "otto", over))
    over.set()
    assert await asyncio.gather(*first, other, *own) == ["vera"] * 2 + ["otto"] + [""] * 5
    assert len(turns) == 0, "nothing is remembered of who asks no more"


async def test_who_waits_for_a_turn_gets_it_when_one_is_over() -> None:
    turns, over = Turns(1, 60.0), asyncio.Event()
    both = [asyncio.create_task(ask(turns, "vera", over)) for _ in range(2)]
    await asyncio.sleep(0)
    over.set()
    assert await asyncio.gather(*both) == ["vera"] * 2
