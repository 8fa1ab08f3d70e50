"""The ingester as production runs it, and what others may send it: a wrong message costs itself."""

import asyncio
import json
import random
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ingestion import metrics
from ingestion.consume.pipeline import Pipeline
from ingestion.service import _Ingester
from ingestion.settings import Settings
from tests.conftest import Production
from tests.integration.test_historian_tools import run
from tests.integration.test_writer import query
from tests.parts import Mosquitto, Nexus, as_role, publish, until

Start = Callable[..., Nexus]
GATEWAY = "0f" * 16


def now() -> int:
    return int(time.time() * 1000)


def started(nexus: Start, production: Production, **keys: str) -> Nexus:
    own = {"mqtt_url": production.mqtt("ingestion"), "database_url": production.owner, "batch_seconds": "0.1"}
    return nexus("ingest", **(own | keys)).until_ready()


def send(production: Production, topic: str, *payloads: bytes) -> None:
    publish(production.broker.port, topic, *payloads)


def stored(production: Production, topic: str) -> int:
    return int(query(production.owner, f"SELECT count(*) FROM metrics WHERE topic = '{topic}'")[0][0])


def test_a_message_that_comes_again_is_stored_once(nexus: Start, production: Production) -> None:
    ingester = started(nexus, production)
    reading = json.dumps({"v": 1, "ts": now()}).encode()
    send(production, "dev/a/t", reading)
    until(lambda: stored(production, "dev/a/t") == 1, "it is stored")
    send(production, "dev/a/t", reading, reading)
    until(lambda: ingester.metric("nexus_ingestion_duplicates_total") == 2, "it is known")
    assert (stored(production, "dev/a/t"), ingester.get("/ready")[0]) == (1, 200)


def test_no_message_stops_it(nexus: Start, production: Production) -> None:
    ingester = started(nexus, production)
    letters = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000))
    huge = "9" * 400
    hostile = [
        b'{"v":1,"q":"%s","ts":%d}' % (letters.encode(), now()),
        b'{"v":%s,"ts":%d}' % (huge.encode(), now()),
        b'{"v":1,"ts":%s}' % huge.encode(),
        b'{"v":1,"ts":%d,"q":%s}' % (now(), huge.encode()),
        b'{"ts":%d,"v":{"%s":1,"a\\u0000":1}}' % (now(), letters.encode()),
        b'{"v":"\\ud800","ts":%d}' % now(),
        b'{"v":1e999,"ts":%d}' % now(),
        b"[" * 50_000,
        b"\xff" * 100,
        b"",
    ]
    send(production, "dev/hostile", *hostile)
    odd: list[dict[str, object]] = [
        {"p": "a\0b", "n": 1},
        {"p": letters, "n": 1},
        {"p": GATEWAY, "n": 2**63 - 1},
        {"p": GATEWAY, "n": 1, "m": 2**63 - 2},
        {"p": ["x"], "n": {}},
    ]
    send(production, "dev/odd", *(json.dumps({"v": 1, "ts": now() + at, **one}).encode() for at, one in enumerate(odd)))
    send(production, "audit/odd", b"", b"{}", b'{"id":"\\u0000"}', b"[" * 50_000)
    send(production, "dev/good", json.dumps({"v": 1, "ts": now()}).encode())
    until(lambda: stored(production, "dev/good") == 1, "what comes behind them is stored")
    assert stored(production, "dev/odd") == len(odd)
    assert ingester.metric("nexus_ingestion_misnumbered_total") == len(odd)
    until(
        lambda: query(production.owner, "SELECT count(*) FROM rejects") == [(len(hostile) + 4,)], "the rest is rejects"
    )
    assert ingester.get("/ready")[0] == 200
    assert query(production.owner, "SELECT max(length(reason)) <= 500, max(length(topic)) <= 2000 FROM rejects") == [
        (True, True)
    ]


@pytest.mark.parametrize("length", [60_000, 1_980])
def test_many_tags_on_a_long_topic_cost_their_message_and_not_the_memory(
    nexus: Start, production: Production, length: int
) -> None:
    ingester = started(nexus, production)
    values = dict.fromkeys((f"t{number}" for number in range(20_000)), 1)
    send(production, "dev/" + "y" * length, json.dumps({"ts": now(), "v": values}).encode())
    send(production, "dev/honest/t", json.dumps({"ts": now(), "v": 1}).encode())
    until(lambda: stored(production, "dev/honest/t") == 1, "the message behind it is stored")
    until(lambda: query(production.owner, "SELECT length(topic) >= 1980 FROM rejects") == [(True,)], "it is set aside")
    assert ingester.metric("process_resident_memory_bytes") < 300_000_000


def test_a_message_that_makes_writing_fail_is_found_and_set_aside(nexus: Start, production: Production) -> None:
    with psycopg.connect(production.owner) as connection:
        connection.execute(
            "CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'tripped'; END $$;"
            " CREATE TRIGGER trip BEFORE INSERT ON metrics FOR EACH ROW WHEN (NEW.value = 13) EXECUTE FUNCTION trip()"
        )
    ingester = started(nexus, production)
    at = now()
    send(production, "dev/a/t", *(json.dumps({"v": number, "ts": at + number}).encode() for number in range(50)))
    until(lambda: stored(production, "dev/a/t") == 49, "all but one are stored")
    assert query(production.owner, "SELECT topic, reason LIKE 'writing it fails: tripped%' FROM rejects") == [
        ("dev/a/t", True)
    ]
    assert (ingester.get("/ready")[0], ingester.metric("nexus_ingestion_database_up")) == (200, 1)


def test_readings_before_all_that_is_kept_are_rejects(nexus: Start, production: Production) -> None:
    started(nexus, production, oldest_days="30")
    old = now() - 31 * 86_400_000
    send(production, "dev/a", json.dumps({"ts": now(), "v": {"x": 1, "y": 2}, "t": {"y": old}}).encode())
    until(lambda: stored(production, "dev/a/x") == 1, "the other is stored")
    assert query(production.owner, "SELECT topic, reason LIKE '%older than what is kept%' FROM rejects") == [
        ("dev/a/y", True)
    ]


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["community"], indirect=True)
def test_readings_before_the_raw_retention_make_no_chunks(nexus: Start, production: Production) -> None:
    started(nexus, production)
    day = 86_400_000
    send(production, "dev/a/t", *(json.dumps({"v": 1, "ts": now() - age * day}).encode() for age in range(95, 125)))
    send(production, "dev/a/t", json.dumps({"v": 1, "ts": now()}).encode())
    until(lambda: query(production.owner, "SELECT count(*) FROM rejects") == [(30,)], "they are rejects")
    chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics'"
    assert query(production.owner, chunks) == [(1,)]


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database", ["apache"], indirect=True)
def test_readings_make_no_more_chunks_than_a_quarter_of_the_servers_locks(nexus: Start, production: Production) -> None:
    started(nexus, production, oldest_days="20000")
    settings = "max_locks_per_transaction", "max_connections", "max_prepared_transactions"
    [each, connections, prepared] = [int(query(production.owner, f"SHOW {name}")[0][0]) for name in settings]
    most = each * (connections + prepared) // 8
    for days in (most + 2, most - 2):
        send(production, "dev/a/t", json.dumps({"v": days, "ts": now() - days * 86_400_000}).encode())
    until(lambda: stored(production, "dev/a/t") == 1, "the newer one is stored")
    until(lambda: query(production.owner, "SELECT count(*) FROM rejects") == [(1,)], "the older one is a reject")
    assert query(production.owner, "SELECT value FROM metrics") == [(most - 2,)]


def test_a_fault_of_a_part_costs_a_pause_and_not_the_process(
    mosquitto: Callable[..., Mosquitto], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto()
    whole, faults, slots = Pipeline.run, [RuntimeError("first"), RuntimeError("second")], []

    async def failing(self: Pipeline) -> None:
        slots.append(metrics.slot._value.get())
        if faults:
            raise faults.pop()
        await whole(self)

    monkeypatch.setattr(Pipeline, "run", failing)

    async def scenario() -> None:
        stop = asyncio.Event()
        own = Settings(database_url=as_role(database, "nexus_writer"), batch_seconds=0.1)
        ingester = _Ingester(own, broker.login("ingestion"), stop)
        running = asyncio.create_task(ingester.run())
        async with asyncio.timeout(60):
            while faults or ingester.waiting_for():
                assert not running.done()
                await asyncio.sleep(0.05)
        stop.set()
        await running

    asyncio.run(scenario())
    assert slots == [0, 0, 0], "the same number each time"


def test_what_is_tried_again_is_as_old_as_its_arrival_and_ends_at_nothing(database: str) -> None:
    arrived = now() - 3_600_000
    huge = b'{"ts":%d,"v":{"a":1,"b":%s,"c":2}}' % (arrived, b"9" * 400)
    with psycopg.connect(database) as connection:
        insert = "INSERT INTO rejects (topic, payload, reason, time) VALUES (%s, %s, 'x', to_timestamp(%s / 1000.0))"
        connection.execute(insert, ("dev/huge", huge, arrived))
        for number in range(30):
            connection.execute(insert, ("dev/plain/t", b"%d" % number, arrived + number * 1_000))
        connection.execute(insert, ("dev/plain/t", b"-1", arrived))  # another value, at a time that is taken
        connection.execute(insert, ("audit/x", b"no record", arrived))
    table = json.dumps([{"topic": "dev/plain/#", "decoder": "plain"}])
    done = run(database, "rejects", "retry", decoders=table)
    assert (done.returncode, done.stdout) == (0, "30 stored, 3 still refused\n"), done.stderr
    found = query(database, "SELECT (extract(epoch FROM time) * 1000)::bigint, value FROM metrics ORDER BY time")
    assert found == [(arrived + number * 1_000, float(number)) for number in range(30)]
    assert run(database, "rejects", "retry", decoders=table).stdout == "0 stored, 3 still refused\n"


def test_a_list_of_rejects_shows_nothing_that_a_terminal_would_obey(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO rejects (topic, payload, reason) VALUES (%s, %s, %s)",
            ("dev/\x1b[2J\x07x", b"\x1b[31m", "why\x1b]0;title\x07\r\n"),
        )
    listed = run(database, "rejects", "list").stdout
    assert "dev/\\x1b[2J\\x07x" in listed
    assert set(listed) & set("\x1b\x07\r\x9b") == set()


def test_wrong_passwords_are_named_in_ready_and_health(nexus: Start, production: Production) -> None:
    """Of broker and database, by the user."""
    broker = f"mqtt://ingestion:another@127.0.0.1:{production.ingestion_port}"
    ingester = nexus("ingest", mqtt_url=broker, database_url=production.writer)
    said = "the broker refused us as ingestion: Not authorized"
    for page in ("/ready", "/health"):
        until(lambda page=page: said in ingester.get(page)[1], f"{page} says why")
    url = make_conninfo(production.owner, user="nobody_here")
    stranger = nexus("ingest", mqtt_url=production.mqtt("ingestion"), database_url=url)
    until(lambda: 'role \\"nobody_here\\" does not exist' in stranger.get("/ready")[1], "/ready says why")


def test_options_that_cannot_be_are_refused_in_a_line(database: str) -> None:
    for options in (["--limit", "-1"], ["--limit", "99999999999999999999"], ["--reason", "\udcff"]):
        done = run(database, "rejects", "list", *options)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr


def test_a_right_that_is_taken_away_and_given_back_costs_no_reading(nexus: Start, production: Production) -> None:
    ingester = started(nexus, production)
    at = now()
    with psycopg.connect(production.owner, autocommit=True) as owner:
        for number, table in enumerate(("metrics", "topics")):
            owner.execute(f"REVOKE INSERT ON {table} FROM nexus_writer".encode())
            topic = f"dev/{table}/t"
            send(production, topic, *(json.dumps({"v": one, "ts": at + one}).encode() for one in range(50)))
            until(lambda: ingester.get("/ready")[0] == 503, "it says that it waits")
            assert (stored(production, topic), number) == (0, number)
            owner.execute(f"GRANT INSERT ON {table} TO nexus_writer".encode())
            until(lambda topic=topic: stored(production, topic) == 50, "all are stored")
            until(lambda: ingester.get("/ready")[0] == 200, "it is ready")
    assert query(production.owner, "SELECT count(*) FROM rejects") == [(0,)]
