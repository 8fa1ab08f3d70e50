"""The console's broker side: devices, live values and writes, with a gateway, a simulator and production's rights."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.conftest import Production
from tests.parts import PATIENCE, Nexus, free_port, publish, until

Start = Callable[..., Nexus]
WAIT = 10.0 * PATIENCE

SIMULATION = """
devices:
  - name: plc
    protocol: modbus-tcp
    port: {port}
    points:
      - {{table: holding, offset: 0, type: uint32, signal: {{kind: counter}}}}
      - {{table: holding, offset: 10, type: int16, signal: {{kind: constant, value: 0}}}}
"""
DEVICES = """
devices:
  - name: plc
    path: plant/line1/plc
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {port}
    interval: 100ms
    timeout: 1s
    breaker: {{failures: 2, open_for: 500ms}}
    publish: {publish}
    tags:
      - {{name: count, address: "holding:40001:uint32", unit: pcs}}
      - {{name: setpoint, address: "holding:40011:int16", writable: true, min: 0, max: 80}}
"""
COUNT, SETPOINT = "dev/plant/line1/plc/count", "dev/plant/line1/plc/setpoint"


class Console:
    """A console without a login, for its broker side."""

    def __init__(self, nexus: Start, production: Production, database: str | None = None) -> None:
        self.port = free_port()
        self.process = nexus(
            "console",
            console_insecure="1",
            console_port=str(self.port),
            mqtt_url=production.broker.url,
            database_url=database or production.owner,
        )
        until(lambda: self.ask("GET", "session")[0] or self.process.ended(), "the console answers")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and content of an answer; 0 while nothing answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data, headers, method=method), timeout=30
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, None

    @contextmanager
    def live(self, *topics: str, rate: int = 10) -> Iterator["Live"]:
        """A WebSocket that watches these."""
        with connect(f"ws://127.0.0.1:{self.port}/api/v1/live", compression=None) as socket:
            live = Live(socket)
            live.send({"subscribe": list(topics), "rate": rate})
            yield live


class Live:
    """One WebSocket, and what it was sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, message: Any) -> None:
        self.socket.send(json.dumps(message))

    def next(self, kind: str) -> Any:
        """The content of the next frame of a kind."""
        while True:
            frame = json.loads(self.socket.recv(timeout=WAIT))
            if kind in frame:
                return frame[kind]

    def value(self, topic: str, after: int = -1) -> Any:
        """The next value of a topic with a time after `after`, as [time, value, quality, unit]."""
        while True:
            for name, *row in self.next("values"):
                if name == topic and row[0] > after:
                    return row


@pytest.fixture
def console(nexus: Start, production: Production) -> Console:
    return Console(nexus, production)


@pytest.fixture(params=["tag", "device"])
def plant(nexus: Start, production: Production, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Nexus]:
    """A simulated device, its gateway, and an ingester."""
    port = free_port()
    (tmp_path / "plant.yaml").write_text(SIMULATION.format(port=port))
    (tmp_path / "devices.yaml").write_text(DEVICES.format(port=port, publish=request.param))
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    ingester = nexus("ingest", mqtt_url=production.broker.url, database_url=production.owner, batch_seconds="0.2")
    gateway = nexus("gateway", "--devices", str(tmp_path / "devices.yaml"), mqtt_url=production.broker.url)
    return {"simulator": simulator, "ingester": ingester.until_ready(), "gateway": gateway.until_ready()}


def hears(console: Console) -> None:
    """Waits until what is published reaches it."""
    until(lambda: console.ask("GET", "devices")[1]["broker"]["connected"], "it has subscribed")


def device(console: Console) -> dict[str, Any]:
    """The only device, once it is there."""
    [found] = until(lambda: console.ask("GET", "devices")[1]["items"], "the device is there")
    return dict(found)


def test_a_plant_is_seen_watched_and_written(console: Console, plant: dict[str, Nexus], production: Production) -> None:
    until(lambda: device(console)["last_reading"] and device(console)["state"] == "online", "it is stored")
    found = device(console)
    assert (found["path"], found["name"], found["protocol"], found["tags"]) == (
        "plant/line1/plc",
        "plc",
        "modbus-tcp",
        2,
    )
    assert (found["breaker"], found["gateway"], found["interval"]) == ("closed", "gateway", 0.1)
    _, whole = console.ask("GET", "devices")
    [gateway] = whole["gateways"]
    assert (gateway["group"], gateway["member"], gateway["state"]) == ("gateway", "gateway", "online")
    assert whole["ingestion"]["consumers"] == [{"group": "ingestion", "number": 0, "connected": True}]
    assert (whole["broker"]["connected"], whole["database"], whole["missing"]) == (
        True,
        {"connected": True, "reason": None, "since": None, "tier": "plain"},
        [],
    )

    with console.live(COUNT, SETPOINT, "device:plant/line1") as live:
        first = live.next("values")
        assert {row[0] for row in first} == {COUNT, SETPOINT}, "the first frame has the last known values"
        time, value, quality, unit = live.value(COUNT)
        later = live.value(COUNT, after=time)
        assert (later[1] > value, quality, unit) == (True, "good", "pcs")

        status, written = console.ask("POST", "write", {"topic": SETPOINT, "value": 42})
        assert (status, written["ok"], written["old"], written["read_back"]) == (200, True, 0, 42)
        while live.value(SETPOINT)[1] != 42:
            pass

        refused = {"value": 7, "expected": {"value": 41, "time": "2026-01-01T00:00:00.000Z"}, "topic": SETPOINT}
        status, problem = console.ask("POST", "write", refused)
        assert (status, problem["current"]["value"]) == (409, 42)
        assert console.ask("POST", "write", {"topic": SETPOINT, "value": 81})[0] == 422
        assert console.ask("POST", "write", {"topic": COUNT, "value": 1})[0] == 409
        assert console.ask("POST", "write", {"topic": "dev/nowhere/t", "value": 1})[0] == 404

        plant["simulator"].stop()
        while live.next("devices")[0]["state"] != "offline":
            pass
        assert device(console)["breaker"] == "open"
    with psycopg.connect(production.owner) as connection:
        rows = connection.execute("SELECT old, new, ok FROM console_audit WHERE event = 'write' ORDER BY id").fetchall()
    assert rows == [(None, 42, None), (0, 42, True), (None, 7, None), (42, 7, False)]


@pytest.mark.parametrize("plant", ["tag"], indirect=True)
def test_of_two_who_saw_the_same_one_writes(console: Console, plant: dict[str, Nexus], production: Production) -> None:
    until(lambda: device(console)["state"] == "online", "it is polled")
    assert console.ask("POST", "write", {"topic": SETPOINT, "value": 55})[1]["ok"]
    write = {"topic": SETPOINT, "expected": {"value": 55}}
    assert console.ask("POST", "write", {**write, "value": 60})[1]["old"] == 55
    status, problem = console.ask("POST", "write", {**write, "value": 20})
    assert (status, problem["current"]["value"]) == (409, 60)
    assert console.ask("POST", "write", {"topic": SETPOINT, "value": 43})[1]["old"] == 60


@pytest.mark.parametrize("plant", ["tag"], indirect=True)
def test_a_write_that_was_done_is_no_error_and_its_outcome_is_recorded_later(
    console: Console, plant: dict[str, Nexus], production: Production
) -> None:
    until(lambda: device(console)["state"] == "online", "it is polled")
    trigger = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.ok IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'cannot_connect_now', MESSAGE = 'away'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER hold BEFORE INSERT ON console_audit FOR EACH ROW EXECUTE FUNCTION hold()
    """
    with psycopg.connect(production.owner, autocommit=True) as connection:
        connection.execute(trigger)
        status, written = console.ask("POST", "write", {"topic": SETPOINT, "value": 55})
        assert (status, written["ok"], written["recorded"]) == (200, True, False)
        connection.execute("DROP TRIGGER hold ON console_audit")
        outcome = "SELECT new, detail ? 'done' FROM console_audit WHERE event = 'write' AND ok"
        assert until(lambda: connection.execute(outcome).fetchall(), "it is recorded") == [(55, True)]


@pytest.mark.parametrize("plant", ["tag"], indirect=True)
def test_an_outcome_that_is_not_known_is_recorded_so(
    console: Console, plant: dict[str, Nexus], production: Production
) -> None:
    until(lambda: device(console)["state"] == "online", "it is polled")
    os.kill(plant["gateway"].process.pid, signal.SIGSTOP)
    status, problem = console.ask("POST", "write", {"topic": SETPOINT, "value": 55})
    assert (status, problem["outcome"]) == (504, "unknown")
    with psycopg.connect(production.owner) as connection:
        rows = connection.execute(
            "SELECT ok, detail ? 'unknown' FROM console_audit ORDER BY id DESC LIMIT 1"
        ).fetchall()
    assert rows == [(None, True)]
    os.kill(plant["gateway"].process.pid, signal.SIGCONT)


def test_the_lag_is_what_ingesters_say_while_they_live(console: Console, production: Production) -> None:
    with psycopg.connect(production.owner, autocommit=True) as ingester:
        ingester.execute("SET application_name = 'ingester'")
        ingester.execute(
            "INSERT INTO consumers SELECT 'ingestion', 0, usesysid, application_name, 0.25, now()"
            " FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        until(lambda: console.ask("GET", "devices")[1]["ingestion"]["lag_seconds"] == 0.25, "it is said")
    until(lambda: console.ask("GET", "devices")[1]["ingestion"]["lag_seconds"] is None, "it is gone")


def test_readings_by_http_are_answered_when_they_are_in_the_database(
    console: Console, plant: dict[str, Nexus], production: Production
) -> None:
    until(lambda: device(console)["state"] == "online", "the gateway has described its device")
    now = time.strftime("%Y-%m-%dT%H:%M:%S.125Z", time.gmtime())
    readings: list[dict[str, Any]] = [
        {"topic": "dev/well/7/level", "time": now, "value": 1.5, "unit": "m"},
        {"topic": "dev/well/7/pump", "time": now, "value": True},
        {"topic": "dev/well/7/level", "time": "2026-01-01T00:00:00Z", "value": None},
        {"topic": "dev/well/8/name", "time": now, "value": "north", "quality": "uncertain"},
    ]
    for _ in range(2):
        assert console.ask("POST", "data", readings) == (200, {"stored": 4, "late": 0})
    with psycopg.connect(production.owner) as connection:
        rows = connection.execute(
            "SELECT topic, value, value_str, quality, unit FROM metrics WHERE topic LIKE 'dev/well/%' ORDER BY topic, time"
        ).fetchall()
    assert rows == [
        ("dev/well/7/level", None, None, 0, None),
        ("dev/well/7/level", 1.5, None, 192, "m"),
        ("dev/well/7/pump", 1.0, None, 192, None),
        ("dev/well/8/name", None, "north", 64, None),
    ]
    again = [{**readings[0], "value": 2.5}, readings[1], {**readings[3], "quality": "good"}]
    status, problem = console.ask("POST", "data", again)
    assert (status, problem["stored"], problem["different"], problem["refused"]) == (409, 1, [0, 2], [])
    assert f"dev/well/7/level at {now}" in problem["detail"]
    for taken in (COUNT, f"{COUNT}/x", "dev/plant/line1/plc/new", "dev/plant/line1/plc", "dev/plant/line1"):
        assert console.ask("POST", "data", [{"topic": taken, "time": now, "value": 1}])[0] == 409, taken
    plant["ingester"].stop()
    status, problem = console.ask("POST", "data", [{**readings[0], "time": "2026-01-02T00:00:00Z"}])
    assert (status, problem["stored"]) == (503, 0)


def test_what_cannot_be_stored_is_refused_before_anything_is_sent(console: Console) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"topic": "status/well/7/level"}, "topic 'status/well/7/level' is no tag's"),
        ({"topic": "dev/level"}, "is no tag's"),
        ({"topic": "dev/well/+/level"}, "is no tag's"),
        ({"time": "2999-01-01T00:00:00Z"}, "no more than an hour ahead"),
        ({"time": "1990-01-01T00:00:00Z"}, "what is older is not kept"),
        ({"time": "2026-01-01T00:00:00"}, "time zone"),
        ({"value": [1]}, "value"),
        ({"value": "a\0b"}, "value"),
        ({"value": 10**400}, "value"),
        ({"quality": "fine"}, "quality"),
        ({"colour": 1}, "colour"),
    ]
    for wrong, said in cases:
        reading = {"topic": "dev/well/7/level", "time": "2026-01-01T00:00:00Z", "value": 1, **wrong}
        status, problem = console.ask("POST", "data", [reading])
        assert (status, said in problem["detail"]) == (422, True), problem


def test_two_values_of_one_topic_and_time_are_refused(console: Console) -> None:
    reading = {"topic": "dev/well/7/level", "time": "2026-01-01T00:00:00Z", "value": 1}
    status, problem = console.ask("POST", "data", [reading, reading, {**reading, "value": 2}])
    assert (status, problem["detail"].startswith("2: topic and time are those of 0")) == (422, True), problem


def test_what_retention_would_drop_is_refused(console: Console, production: Production) -> None:
    with psycopg.connect(production.owner) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT timestamptz '2026-02-01Z' $$"
        )
    status, problem = console.ask("POST", "data", [{"topic": "dev/a/t", "time": "2026-01-31T23:59:59Z", "value": 1}])
    assert (status, "before 2026-02-01T00:00:00.000Z" in problem["detail"]) == (422, True), problem


def test_a_broker_that_is_away_is_said_and_its_return_too(console: Console, production: Production) -> None:
    status = {"state": "online", "reason": "", "ts": 1_767_225_600_000}
    hears(console)
    publish(production.broker.port, "status/plant/line1/plc", json.dumps(status).encode())
    until(lambda: device(console)["state"] == "online", "the state has come")
    with console.live("dev/plant/line1/plc/t", "device:") as live:
        [seen] = live.next("devices")
        assert (seen["path"], seen["since"]) == ("plant/line1/plc", "2026-01-01T00:00:00.000Z")
        production.broker.stop()
        assert live.next("gap")["to"] is None
        with console.live() as later:
            assert "the broker is away" in later.next("gap")["reason"], "who comes now is told, too"
        [away] = live.next("devices")
        assert (away["state"], "the broker is away" in away["reason"]) == ("unknown", True)
        assert console.ask("GET", "devices")[1]["missing"] == ["broker"]
        assert console.ask("POST", "write", {"topic": SETPOINT, "value": 1})[0] == 503
        production.broker.start()
        assert live.next("gap")["to"] is not None
        publish(production.broker.port, "dev/plant/line1/plc/t", b'{"v": 1.5, "q": "good", "ts": 1767225600000}')
        assert live.value("dev/plant/line1/plc/t") == [1_767_225_600_000, 1.5, "good"]


def test_a_database_that_is_away_costs_its_part_only(nexus: Start, production: Production) -> None:
    console = Console(nexus, production, "postgresql://127.0.0.1:1/nowhere")
    hears(console)
    publish(production.broker.port, "status/plant/line1/plc", b'{"state": "offline", "reason": "off", "ts": 1}')
    found = until(lambda: console.ask("GET", "devices")[1]["items"], "the state has come")
    assert (found[0]["state"], found[0]["reason"], found[0]["last_reading"]) == ("offline", "off", None)
    _, whole = console.ask("GET", "devices")
    assert (whole["missing"], whole["database"]["connected"]) == (["database"], False)
    with console.live("dev/a/t") as live:
        until(lambda: published(production, live, "dev/a/t"), "live values come")
    assert console.ask("POST", "write", {"topic": SETPOINT, "value": 1})[0] in (404, 503), "nothing is done unrecorded"


def published(production: Production, live: "Live", topic: str) -> bool:
    """Publishes a value, and tells whether it comes: the console may not have subscribed yet."""
    publish(production.broker.port, topic, json.dumps({"v": 7, "q": "good", "ts": time.time_ns() // 10**6}).encode())
    try:
        frame = json.loads(live.socket.recv(timeout=0.5))
    except TimeoutError:
        return False
    return any(name == topic for name, *_ in frame.get("values", ()))


def test_a_slow_client_loses_frames_and_is_told(console: Console, production: Production) -> None:
    tags, number = [f"t{tag}" for tag in range(60)], 0
    topics = [f"dev/big/{tag}" for tag in tags]
    with console.live(*topics) as slow, console.live("dev/big/t0") as quick:
        until(lambda: published(production, quick, "dev/big/t0"), "the console has subscribed")
        while console.process.metric("nexus_console_frames_dropped_total") < 3:
            number += 1
            values = dict.fromkeys(tags, f"{number}{'x' * 4_000}")
            publish(
                production.broker.port, "dev/big", json.dumps({"v": values, "ts": time.time_ns() // 10**6}).encode()
            )
            quick.value("dev/big/t0")
        assert "too slowly" in slow.next("gap")["reason"]
        until(lambda: slow.value("dev/big/t0")[1].startswith(f"{number}x"), "the newest comes")


def test_what_a_client_gets_wrong_is_said_and_costs_nobody_else(console: Console) -> None:
    with console.live("device:") as live:
        for wrong, said in [
            ("{", "write it like"),
            ('{"subscribe": "dev/a"}', "write it like"),
            ('{"rate": 100}', "write it like"),
            ('{"rate": 0}', "write it like"),
            ('{"fly": true}', "write it like"),
            ("[" * 30_000, "write it like"),
            ('{"subscribe": ["dev/#"]}', "neither a tag's topic"),
            ('{"subscribe": ["cmd/a/b"]}', "neither a tag's topic"),
            (json.dumps({"subscribe": [f"dev/a/{number}" for number in range(1_100)]}), "1,000 topics"),
        ]:
            live.socket.send(wrong)
            assert said in live.next("error"), wrong
        live.socket.send(b"\xff")
        assert "write it like" in live.next("error")
        with pytest.raises(ConnectionClosed):
            live.socket.send("x" * 70_000)
            live.next("nothing")
    assert console.ask("GET", "devices")[0] == 200


def test_half_a_character_is_refused_wherever_it_is(console: Console) -> None:
    whose = {"group": "g", "member": "m"}
    for path, body in [
        ("write", {"topic": SETPOINT, "value": "\ud800"}),
        ("write", {"topic": "dev/a/\ud800", "value": 1}),
        ("data", [{"topic": "dev/a/t", "time": "2026-01-01T00:00:00Z", "value": "\ud800"}]),
        ("files/check", {**whose, "files": {"a.yaml": "\ud800"}}),
        ("files/check", {**whose, "files": {"\ud800": ""}}),
        ("files/check", {"group": "\ud800", "member": "m", "files": {}}),
        ("write", {"topic": SETPOINT, "value": 1, "\ud800": 1}),
    ]:
        assert console.ask("POST", path, body)[0] == 422, (path, body)


def test_a_socket_where_there_is_none_is_closed_without_an_error(console: Console) -> None:
    for path in ("/", "/api/v1/tags", "/plant"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{console.port}{path}").close()
    assert "ASGI" not in console.process.log.read_text()
    assert "Traceback" not in console.process.log.read_text()


def test_a_page_of_another_site_gets_no_socket(console: Console) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{console.port}/api/v1/live", origin=Origin("http://elsewhere.example")).close()


def test_sockets_that_are_opened_and_left_leave_nothing(console: Console, production: Production) -> None:
    for _ in range(20):
        left = [socket.create_connection(("127.0.0.1", console.port)) for _ in range(100)]
        for number, one in enumerate(left):
            one.sendall(HANDSHAKE + text_frame({"subscribe": [f"dev/a/{number}"]}) if number % 2 else HANDSHAKE[:50])
        for one in left:
            one.close()
    until(lambda: console.process.metric("nexus_console_sockets") == 0, "all are gone")
    with console.live("dev/a/t") as live:
        until(lambda: published(production, live, "dev/a/t"), "others are served")


HANDSHAKE = (
    b"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def text_frame(message: Any) -> bytes:
    """As a client sends it, with a mask of zeros."""
    payload = json.dumps(message).encode()
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
