"""What begins with an event besides its notifications: how long others wait for a person; with the console's rights."""

import asyncio
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import AsyncConnection

from console.notify import intake, outbox
from console.notify.channels.webhook import Webhook
from console.notify.config import Config
from console.notify.receiver_keys import Receiver
from console.notify.routes import Route, Routes, Step
from nexus.contract.alarm import AlarmMessage, Event, State
from tests.integration.test_notifications import store, word
from tests.integration.test_notify_outbox import console
from tests.integration.test_writer import query

BOSS = Receiver("boss", Webhook(url="http://127.0.0.1:9"), None, timedelta(days=1))
STEPS = (Step(timedelta(minutes=10), ("boss",)),)
CONFIG = Config({"boss": BOSS}, Routes((Route("all", ("boss",), steps=STEPS),), ZoneInfo("UTC")), timedelta(days=90))


@pytest.fixture
def wanted(database: str) -> str:
    """A database where events are queued."""
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO notification_sender VALUES (true, now() + interval '1 day', 'x', now())")
    return database


async def judge(connection: AsyncConnection) -> None:
    async with connection.transaction():
        await intake.take(connection, CONFIG, await outbox.clock(connection))


def again(first: AlarmMessage, event: Event, seconds: int, state: State = "unacknowledged") -> AlarmMessage:
    occurrence = first.record.occurrence
    return word(event=event, at=occurrence + seconds * 1000, occurrence=occurrence, state=state)


def waits(url: str) -> list[tuple[datetime, datetime]]:
    return query(url, "SELECT began, due FROM notification_waits")


def raised_a_minute_ago() -> AlarmMessage:
    return word(at=int(datetime.now().timestamp() * 1000) - 60_000)


ANSWERS: list[tuple[Event, State, Event]] = [
    ("acknowledged", "acknowledged", "realarmed"),
    ("shelved", "shelved", "unshelved"),
    ("out-of-service", "out-of-service", "in-service"),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("answer", "state", "call"), ANSWERS)
async def test_an_alarm_that_was_answered_and_calls_again_is_waited_for_anew(
    wanted: str, answer: Event, state: State, call: Event, together: bool
) -> None:
    raised = raised_a_minute_ago()
    async with console(wanted) as connection:
        await asyncio.to_thread(store, wanted, raised)
        await judge(connection)
        await asyncio.to_thread(store, wanted, again(raised, answer, 20, state))
        if not together:
            await judge(connection)
            assert waits(wanted) == []
        await asyncio.to_thread(store, wanted, again(raised, call, 30))
        await judge(connection)
    [(began, _)] = waits(wanted)
    assert began.timestamp() * 1000 == raised.record.ts + 30_000


@pytest.mark.parametrize("call", ["raised", "realarmed", "unsuppressed"])
async def test_an_alarm_that_comes_and_goes_is_waited_for_since_its_first_call(wanted: str, call: Event) -> None:
    raised = raised_a_minute_ago()
    async with console(wanted) as connection:
        await asyncio.to_thread(store, wanted, raised)
        await judge(connection)
        first = waits(wanted)
        for seconds in (20, 40):
            await asyncio.to_thread(store, wanted, again(raised, "cleared", seconds, "returned"))
            await asyncio.to_thread(store, wanted, again(raised, call, seconds + 5))
            await judge(connection)
        assert waits(wanted) == first
