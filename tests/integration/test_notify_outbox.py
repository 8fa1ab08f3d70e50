"""The outbox: what is sent next, in which order around a digest, and at which cost; with the console's rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection

from console.historian import notifications
from console.notify import digests, outbox
from console.notify.channels.webhook import Webhook
from console.notify.digests import Gathering
from console.notify.flood import Digest
from console.notify.outbox import Attempt
from console.notify.receiver_keys import Receiver
from nexus.contract import alarm
from nexus.contract.alarm import Priority
from tests.integration.test_notifications import word
from tests.integration.test_writer import query
from tests.parts import as_role

RULE = Digest(2, timedelta(minutes=5))
HOOK = Receiver("hook", Webhook(url="http://127.0.0.1:9"), RULE, timedelta(days=1))
ADD = """
INSERT INTO notifications (created, receiver, channel, route, kind, key, topic, word, due, expires, attempts, state, settled)
SELECT now(), 'hook', 'webhook', 'all', 'event', gen_random_uuid()::text, topic, word::jsonb, now() + late,
    now() + '1 day', attempts, 'pending', NULL
FROM unnest(%s::text[], %s::text[], %s::interval[], %s::int[]) AS came (topic, word, late, attempts)
"""
MANY: LiteralString = """
INSERT INTO notifications (created, receiver, channel, route, kind, key, topic, word, due, expires, attempts, state, settled)
SELECT now(), 'hook', 'webhook', 'all', 'event', gen_random_uuid()::text, %(topic)s, %(word)s::jsonb,
    CASE n WHEN 1 THEN now() + '1 hour' ELSE now() END, now() + '1 day', CASE n WHEN 1 THEN 3 ELSE 0 END,
    %(state)s, CASE %(state)s WHEN 'pending' THEN NULL ELSE now() END
FROM generate_series(1, %(count)s) AS n
"""
BLOCKS = 1_500  # of 8 kB, that a look at the outbox may read


def of(tag: int) -> str:
    return word(tag).topic


def json_of(tag: int, priority: Priority = "high") -> str:
    return alarm.encode(word(tag, priority=priority)).decode()


def add(url: str, *rows: tuple[int, str, int]) -> None:
    """Notifications of alarms by their tag: when each is due, as an interval, and how often it was tried."""
    with psycopg.connect(url) as connection:
        tags, due, attempts = map(list, zip(*rows, strict=True))
        connection.execute(ADD, ([of(tag) for tag in tags], list(map(json_of, tags)), due, attempts))


def add_many(url: str, tag: int, count: int, state: str = "pending", priority: Priority = "high") -> None:
    """So many of one alarm; the first is tried again in an hour."""
    asked = {"topic": of(tag), "word": json_of(tag, priority), "state": state, "count": count}
    with psycopg.connect(url) as connection:
        connection.execute(MANY, asked)


@asynccontextmanager
async def console(url: str) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(as_role(url, "nexus_console"), autocommit=True) as connection:
        yield connection


async def gathered(connection: AsyncConnection, now: datetime) -> Gathering:
    made, is_more = Gathering(HOOK, "webhook", now), True
    while is_more:
        async with connection.transaction():
            is_more = await made.take(connection)
    return made


async def heads(connection: AsyncConnection, *, single: bool = True) -> list[str]:
    """Topics, as they are sent; empty for a digest."""
    now = await outbox.clock(connection)
    found = await outbox.heads(connection, HOOK, now, 4, single=single)
    return ["" if one.message.word is None else one.message.word.topic for one in found]


async def test_a_digest_takes_what_is_tried_again_and_nothing_overtakes_it_until_it_is_sent(database: str) -> None:
    add(database, (0, "1 hour", 3), (1, "0", 0), (0, "0", 0))
    async with console(database) as connection:
        assert await heads(connection) == [of(1)], "the later event of an alarm waits for the earlier one"
        now = await outbox.clock(connection)
        await gathered(connection, now)
        assert query(database, "SELECT count(*) FROM notifications WHERE state = 'digested'") == [(3,)]
        add(database, (0, "0", 0), (5, "0", 0))
        assert await heads(connection) == ["", of(5)]
        assert await heads(connection, single=False) == [""]
        [(digest,)] = query(database, "SELECT id FROM notifications WHERE kind = 'digest'")
        away = Attempt(digest, "pending", now + timedelta(hours=1), "away", 0.1)
        await outbox.settle(connection, [away], now)
        assert await heads(connection) == [of(5)], "others go on"
        assert await heads(connection, single=False) == []
        await outbox.settle(connection, [replace(away, state="sent")], now)
        assert await heads(connection) == [of(0), of(5)]


async def test_what_was_not_tried_yet_comes_before_what_is_tried_again(database: str) -> None:
    add(database, *((tag, "0", 2) for tag in range(12)), (20, "0", 0))
    async with console(database) as connection:
        assert await heads(connection) == [of(20), of(0), of(1), of(2)]


async def test_a_digest_that_some_recipients_have_holds_up_nothing(database: str) -> None:
    add(database, *((tag, "0", 0) for tag in range(3)))
    async with console(database) as connection:
        now = await outbox.clock(connection)
        await gathered(connection, now)
        [(digest,)] = query(database, "SELECT id FROM notifications WHERE kind = 'digest'")
        partly = Attempt(digest, "pending", now + timedelta(hours=1), "b@x: 452", 0.1, remaining=("b@x",))
        await outbox.settle(connection, [partly], now)
        add(database, (0, "0", 0))
        assert await heads(connection) == [of(0)]


async def test_a_mail_that_some_recipients_have_holds_up_nothing_and_is_tried_again(database: str) -> None:
    add(database, (0, "0", 0), (1, "0", 0), (0, "0", 0))
    async with console(database) as connection:
        now = await outbox.clock(connection)
        [first, other] = await outbox.heads(connection, HOOK, now, 4, single=True)
        partly = Attempt(first.id, "pending", now, "b@x: 452", 0.1, remaining=("b@x",))
        await outbox.settle(connection, [partly], now)
        found = await outbox.heads(connection, HOOK, now, 4, single=True)
        assert [one.id for one in found] == [other.id, other.id + 1, first.id]
        assert [one.message.recipients for one in found] == [None, None, ("b@x",)]
        found = await outbox.heads(connection, HOOK, now, 4, single=False)
        assert [one.id for one in found] == [first.id]


async def test_a_digest_that_some_have_holds_up_no_other_and_takes_nothing_that_some_have(database: str) -> None:
    add(database, *((tag, "0", 0) for tag in range(3)))
    async with console(database) as connection:
        now = await outbox.clock(connection)
        [first, *_] = await outbox.heads(connection, HOOK, now, 4, single=True)
        await outbox.settle(connection, [Attempt(first.id, "pending", now, "b@x: 452", 0.1, remaining=("b@x",))], now)
        await gathered(connection, now)
        digest = "SELECT id FROM notifications WHERE kind = 'digest' ORDER BY id DESC LIMIT 1"
        [(one,)] = query(database, digest)
        await outbox.settle(connection, [Attempt(one, "pending", now, "b@x: 452", 0.1, remaining=("b@x",))], now)
        add(database, (5, "0", 0))
        made = await gathered(connection, now)
        assert made.count == 1
        [(other,)] = query(database, digest)
        for single in (True, False):
            found = await outbox.heads(connection, HOOK, now, 4, single=single)
            assert {pending.id for pending in found} == {other, one, first.id}


@pytest.mark.parametrize("state", ["pending", "dead"])
async def test_a_mail_that_some_recipients_have_counts_as_sent(database: str, state: str) -> None:
    add(database, *((tag, "0", 0) for tag in range(5)))
    async with console(database) as connection:
        now = await outbox.clock(connection)
        found = await outbox.heads(connection, HOOK, now, 3, single=True)
        partly = [Attempt(one.id, state, now, "b@x: 550", 0.1, remaining=("b@x",)) for one in found]
        await outbox.settle(connection, partly, now)
        load = await digests.load(connection, HOOK, RULE, now)
        assert (load.due, load.sent) == (2, 3)


async def test_a_digest_of_a_backlog_holds_all_of_it_and_what_matters_most(database: str) -> None:
    count = 2 * digests.MOST + 1
    add_many(database, 0, count)
    add_many(database, 9, 1, priority="critical")
    async with console(database) as connection:
        now = await outbox.clock(connection)
        load = await digests.load(connection, HOOK, RULE, now)
        assert (load.due, load.sent, load.last_digest) == (RULE.above + 1, 0, None)
        made = await gathered(connection, now)
        assert (await digests.load(connection, HOOK, RULE, now)).last_digest == now
    assert made.count == count + 1
    [(summary,)] = query(database, "SELECT summary FROM notifications WHERE state = 'pending'")
    assert (summary["count"], summary["alarms"], summary["top"][0]["priority"]) == (count + 1, 2, "critical")
    assert query(database, "SELECT count(DISTINCT digest) FROM notifications WHERE state = 'digested'") == [(1,)]


async def test_one_alarm_with_a_great_many_holds_up_no_other(database: str) -> None:
    add_many(database, 0, 1_000)
    add(database, (7, "0", 0), (8, "0", 0))
    async with console(database) as connection:
        assert await heads(connection) == [of(7), of(8)]


def blocks(connection: psycopg.Connection, statement: str, asked: dict[str, Any]) -> int:
    """How many blocks a statement reads."""
    [(plan,)] = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".encode(), asked).fetchall()
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("analysed", [False, True])
def test_what_is_looked_at_all_the_time_reads_little_of_a_great_outbox(database: str, analysed: bool) -> None:
    add_many(database, 0, 30_000, state="sent")
    add_many(database, 0, 30_000)
    add_many(database, 1, 5_000)
    query(
        database,
        f"UPDATE notifications SET remaining = '{{b@x}}', due = now() + '1 hour' WHERE topic = '{of(1)}' RETURNING id",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        if analysed:
            connection.execute("VACUUM ANALYZE notifications")
        [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
        asked = {"receiver": "hook", "now": now, "since": now - RULE.within, "most": 4, "window": 200}
        for statement in (
            outbox._HEADS,
            outbox._HEADS_OF_ALL,
            outbox._DIGESTS,
            outbox._PARTLY,
            digests._LOAD,
            notifications._RECEIVERS,
        ):
            assert blocks(connection, statement, asked) < BLOCKS, statement
