"""Events of alarms in the database: each once, in whatever order they come, by production's roles."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from msgspec.structs import replace

from db import migrate as schema
from db.settings import Settings
from db.status import status
from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import Encoding
from ingestion.store.bulk import BulkInsert
from ingestion.store.exact import ExactInsert
from ingestion.store.writer import Writer
from nexus import mqtt
from nexus.contract.alarm import AlarmMessage, Record, encode
from nexus.contract.receipt import decode_receipt
from nexus.mqtt import Client
from tests.conftest import TIERS, Production
from tests.integration.test_writer import query, write_batch
from tests.parts import Nexus, as_role, publish, until

Start = Callable[..., Nexus]
NOW = int(time.time() * 1000)
GATEWAY = "0f" * 16
RAISED = AlarmMessage(
    "plant/line1/press",
    "force",
    "high",
    Record("unacknowledged", NOW, NOW, NOW, active=True, acknowledged=False, value=84.5, limit=80.0),
    "raised",
    "high",
    "Force too high",
    "Reduce speed",
    "kN",
)
tiers = pytest.mark.parametrize("empty_database", TIERS, indirect=True)


def after(message: AlarmMessage, seconds: float, event: str, **changes: object) -> AlarmMessage:
    """The same occurrence, later."""
    at = message.record.ts + int(seconds * 1000)
    return replace(message, event=event, record=replace(message.record, ts=at, since=at, **changes))


ACKNOWLEDGED = after(RAISED, 60, "acknowledged", state="acknowledged", acknowledged=True, by="anna", reason="seen")
CLEARED = after(ACKNOWLEDGED, 60, "cleared", state="normal", active=False)


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


@tiers
def test_events_are_stored_once_and_the_last_one_counts_in_whatever_order_they_come(database: str) -> None:
    write_batch(database, Batch(records=[ACKNOWLEDGED]))
    write_batch(database, Batch(records=[RAISED, ACKNOWLEDGED, RAISED]))
    journal = "SELECT time, occurrence, state, event, active, acknowledged, by FROM alarm_events ORDER BY time"
    began = moment(NOW)
    assert query(database, journal) == [
        (began, began, "unacknowledged", "raised", True, False, None),
        (moment(ACKNOWLEDGED.record.ts), began, "acknowledged", "acknowledged", True, True, "anna"),
    ]
    now = (
        'SELECT topic, device, tag, name, state, since, value, "limit", unit, priority, text, response, by, reason'
        " FROM alarms_now"
    )
    assert query(database, now) == [
        (
            *("alarm/plant/line1/press/force/high", "plant/line1/press", "force", "high"),
            *("acknowledged", moment(ACKNOWLEDGED.record.ts), 84.5, 80.0, "kN"),
            *("high", "Force too high", "Reduce speed", "anna", "seen"),
        )
    ]
    write_batch(database, Batch(records=[CLEARED, RAISED]))
    assert query(database, now) == []


def test_nobody_is_named_for_what_happens_by_itself_while_the_state_keeps_its_name(database: str) -> None:
    shelved = after(RAISED, 60, "shelved", state="shelved", by="anna", reason="repair", until=NOW + 10**7)
    cleared = replace(
        shelved, event="cleared", record=replace(shelved.record, ts=shelved.record.ts + 1000, active=False)
    )
    write_batch(database, Batch(records=[RAISED, shelved, cleared]))
    journal = "SELECT event, by, reason FROM alarm_events ORDER BY time"
    assert query(database, journal) == [("raised", None, ""), ("shelved", "anna", "repair"), ("cleared", None, "")]
    assert query(database, "SELECT event, by, reason FROM alarms_now") == [("cleared", "anna", "repair")]


def test_an_event_from_the_future_does_not_stay_the_last_message(database: str) -> None:
    year = 365 * 86400
    write_batch(database, Batch(records=[after(RAISED, year, "raised")]))
    write_batch(database, Batch(records=[ACKNOWLEDGED]))
    assert query(database, "SELECT state, time FROM alarms_now") == [("acknowledged", moment(ACKNOWLEDGED.record.ts))]


@tiers
def test_writers_add_readers_look_and_neither_changes_what_was(database: str) -> None:
    write_batch(database, Batch(records=[RAISED]))
    for role in ("nexus_reader", "nexus_console"):
        with psycopg.connect(as_role(database, role)) as reader:
            assert reader.execute("SELECT state FROM alarms_now").fetchall() == [("unacknowledged",)]
            assert reader.execute("SELECT event FROM alarm_events").fetchall() == [("raised",)]
    with schema.connect(as_role(database, "nexus_reader")) as reader:
        assert dict(status(reader)[0])["alarms that are not normal"] == "1 of 1"
    for role, statement in (
        ("nexus_writer", "UPDATE alarm_events SET by = 'anna'"),
        ("nexus_writer", "DELETE FROM alarm_events"),
        ("nexus_writer", "INSERT INTO alarm_states SELECT * FROM alarm_events"),
        ("nexus_console", "DELETE FROM alarm_states"),
        ("nexus_reader", "INSERT INTO alarm_events SELECT * FROM alarm_events"),
    ):
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
        with psycopg.connect(as_role(database, role)) as login, refused:
            login.execute(statement.encode())


@tiers
def test_what_stands_outlives_its_events(database: str) -> None:
    day = 86_400_000
    old = replace(RAISED, record=replace(RAISED.record, occurrence=NOW - 20 * day, ts=NOW - 20 * day))
    write_batch(database, Batch(records=[old, replace(RAISED, name="low")]))
    with schema.connect(database) as connection:
        schema.migrate(connection, Settings(retention_alarms=10))
        until(lambda: query(database, "SELECT name FROM alarm_events") == [("low",)], "old events are gone", 60)
    assert query(database, "SELECT name FROM alarms_now ORDER BY 1") == [("high",), ("low",)]


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_events_are_kept_for_two_years_where_the_job_knew_nothing_of_them(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [name for name in schema.names() if name < "046"]
    with schema.connect(empty_database) as connection:
        with monkeypatch.context() as patched:
            patched.setattr(schema, "names", lambda: before)
            schema.migrate(connection, Settings())
            connection.execute(
                "SELECT alter_job(job_id, config => config - 'alarm_events')"
                " FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_records'"
            )
        schema.migrate(connection, Settings())
        age = "SELECT config->'alarm_events' FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_records'"
        assert connection.execute(age).fetchone() == (730,)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_bulk_mode_stores_them_once_too(empty_database: str) -> None:
    with schema.connect(empty_database) as connection:
        schema.migrate(connection, Settings(ingest_mode="bulk"))

    async def scenario() -> None:
        async with Writer(as_role(empty_database, "nexus_writer"), BulkInsert(Encoding(Decoders([])))) as writer:
            for number in (1, 1, 2):
                await writer.write(Batch(records=[RAISED], receipts=[(GATEWAY, number, number)]))

    asyncio.run(scenario())
    assert query(empty_database, "SELECT count(*) FROM alarm_events") == [(1,)]


def test_ten_thousand_events_from_two_writers_at_once_are_all_there(database: str) -> None:
    messages = [
        replace(event, name=f"a{number}")
        for number in range(2_500)
        for event in (RAISED, ACKNOWLEDGED, CLEARED, RAISED)
    ]

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for some in (messages, messages[::-1]):
                group.create_task(_write_in_parts(database, some))

    asyncio.run(scenario())
    assert query(database, "SELECT count(*), count(DISTINCT topic) FROM alarm_events") == [(7_500, 2_500)]
    assert query(database, "SELECT count(*) FROM alarms_now") == [(0,)]


async def _write_in_parts(url: str, messages: list[AlarmMessage]) -> None:
    async with Writer(as_role(url, "nexus_writer"), ExactInsert()) as writer:
        for start in range(0, len(messages), 1_000):
            await writer.write(Batch(records=list(messages[start : start + 1_000])))


def numbered(message: AlarmMessage, number: int, **changes: object) -> bytes:
    return json.dumps({**json.loads(encode(message)), "p": GATEWAY, "n": number, **changes}).encode()


def test_hostile_events_are_rejects_and_hold_up_nothing(nexus: Start, production: Production) -> None:
    ingester = nexus(
        "ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner, batch_seconds="0.1"
    ).until_ready()
    hostile = [
        numbered(RAISED, 1, text="x" * 10_000),
        numbered(RAISED, 2, reason="a\0b"),
        numbered(RAISED, 3, by="\ud800"),
        numbered(RAISED, 4, ts=NOW + 86_400_000),
        numbered(RAISED, 5, ts=10**300),
        numbered(RAISED, 6, ts=-1),
        numbered(RAISED, 7, occurrence=2**62),
        numbered(RAISED, 8, state="burning"),
        numbered(RAISED, 9, device="plant/line2/press"),
        b"[" * 50_000,
        b"\xff\0",
    ]
    odd = [
        numbered(after(RAISED, 1, "comment"), 2**63, p=GATEWAY),
        numbered(after(RAISED, 2, "comment"), 1, p="a\0b"),
        numbered(after(RAISED, 3, "comment"), 20, value=10**400),
        numbered(after(RAISED, 4, "comment"), 21, value=2**60 + 1),
    ]
    publish(production.broker.port, RAISED.topic, *hostile, *odd, b"", encode(RAISED))
    publish(production.broker.port, "dev/good/t", json.dumps({"v": 1, "ts": NOW}).encode())
    until(lambda: query(production.owner, "SELECT count(*) FROM metrics") == [(1,)], "what comes behind is stored")
    events = "SELECT event, value_str FROM alarm_events ORDER BY time"
    until(lambda: len(query(production.owner, events)) >= 4, "so is what can be")
    assert query(production.owner, "SELECT state FROM alarms_now") == [("unacknowledged",)]
    until(lambda: len(query(production.owner, "SELECT FROM rejects")) >= len(hostile), "the rest is rejects")
    assert ("comment", str(2**60 + 1)) in query(production.owner, events)
    assert ingester.get("/ready")[0] == 200


def test_events_get_receipts_and_those_without_numbers_are_repetitions(nexus: Start, production: Production) -> None:
    nexus(
        "ingest", mqtt_url=production.mqtt("ingestion"), database_url=production.owner, batch_seconds="0.1"
    ).until_ready()
    heard: set[int] = set()

    def keep(connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard.update(n for first, last in decode_receipt(message.payload) for n in range(first, last + 1))
        connection.acknowledge(message.packet_id)

    async def scenario() -> None:
        async with mqtt.connect(production.broker.login("gateway"), Client("gw"), keep) as connection:
            await connection.subscribe(f"receipt/{GATEWAY}")
            for number, message in enumerate((RAISED, ACKNOWLEDGED, RAISED), 1):
                await (await connection.publish(message.topic, numbered(message, number)))
            await (await connection.publish(RAISED.topic, numbered(RAISED, 4, state="burning")))
            await (await connection.publish(RAISED.topic, encode(RAISED), retain=True))
            await (await connection.publish(RAISED.topic, b"", retain=True))
            async with asyncio.timeout(60):
                while heard != {1, 2, 3, 4}:
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert query(production.owner, "SELECT state FROM alarm_events ORDER BY time") == [
        ("unacknowledged",),
        ("acknowledged",),
    ]
    assert query(production.owner, "SELECT state FROM alarms_now") == [("acknowledged",)]
    assert [
        reason for (reason,) in query(production.owner, "SELECT reason FROM rejects") if "burning" not in reason
    ] == []
