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
from nexus.contract.alarm import AlarmMessage, Event
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


def again(first: AlarmMessage, event: Event, seconds: int) -> AlarmMessage:
    occurrence = first.record.occurrence
    return word(event=event, at=occurrence + seconds * 1000, occurrence=occurrence, state="unacknowledged")


def waits(url: str) -> list[tuple[datetime, datetime]]:
    return query(url, "SELECT began, due FROM notification_waits")


@pytest.mark.parametrize("event", ["realarmed", "unshelved"])
async def test_an_alarm_that_calls_again_is_waited_for_anew(wanted: str, event: Event) -> None:
    raised = word(at=int(datetime.now().timestamp() * 1000) - 60_000)
    async with console(wanted) as connection:
        await asyncio.to_thread(store, wanted, raised)
        await judge(connection)
        [(began, due)] = waits(wanted)
        await asyncio.to_thread(store, wanted, again(raised, event, 30))
        await judge(connection)
        [(later, due_later)] = waits(wanted)
        assert later - began == timedelta(seconds=30)
        assert due_later > due


async def test_several_calls_of_an_alarm_that_are_judged_together_count_as_the_last(wanted: str) -> None:
    raised = word(at=int(datetime.now().timestamp() * 1000) - 60_000)
    async with console(wanted) as connection:
        await asyncio.to_thread(store, wanted, raised, again(raised, "unshelved", 20), again(raised, "realarmed", 40))
        await judge(connection)
    [(began, _)] = waits(wanted)
    assert began.timestamp() * 1000 == raised.record.ts + 40_000
