"""The way out on real sockets: brokers that are empty, silent, hostile, or deny a topic; disks that cannot be opened."""

import asyncio
import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway import metrics
from gateway.delivery import adoption, control_topics, device_states, in_flight, replay, spool, spool_folder
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import FIRST_SECONDS, BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.delivery.publish_options import PublishOptions
from gateway.delivery.receipts import Receipts
from gateway.delivery.spool import SpoolError
from gateway.settings import Settings
from nexus import mqtt
from nexus.contract.reading import Reading
from nexus.contract.receipt import OFFER
from nexus.contract.status import Status
from nexus.mqtt import Broker, Client, stay_connected
from nexus.process import supervisor
from nexus.process.run import task_group
from tests.parts import PATIENCE, Mosquitto
from tests.peer import listening


@asynccontextmanager
async def delivering(
    folder: Path, broker: Broker, receipts: str = "auto", may_state: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[Delivery]:
    """A gateway's way out, on its own."""
    own = Settings(spool_dir=folder, receipts=receipts)
    async with spool_folder.claimed(folder, own.spool_bytes, own.spool_age) as spool, task_group() as group:
        delivery = Delivery(own, spool, ControlTopics(), may_state)

        async def serve(connection: mqtt.Connection) -> None:
            await delivery.serve(connection)
            await asyncio.Event().wait()

        def heard(connection: mqtt.Connection, message: mqtt.Message) -> None:
            connection.acknowledge(message.packet_id)
            delivery.handle(message.topic, message.payload)

        tasks = [
            *delivery.start(group),
            supervisor.start(group, "file", delivery.adopt(folder), name="adopt"),
        ]
        await delivery.opened()
        line = stay_connected(broker, Client("gateway-x"), serve, heard)
        tasks.append(supervisor.part(group, line, name="line"))
        yield delivery
        for task in tasks:
            task.cancel()


async def until(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    seconds *= PATIENCE
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"after {seconds:g} s still not: {what}") from None


class Ear:
    """A subscriber, and all that it heard."""

    def __init__(self) -> None:
        self.messages: list[mqtt.Message] = []

    def __call__(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.packet_id)
        self.messages.append(message)


def say(delivery: Delivery, device: str, value: int) -> None:
    delivery.publisher.scan(PublishOptions(device, "tag", {}), [Reading("t", value, value)])  # a source time of 1970


def values(ear: Ear, device: str) -> set[int]:
    """What came of a device, tag by tag or as a whole."""
    found = set()
    for message in ear.messages:
        if message.topic in (f"dev/{device}", f"dev/{device}/t"):
            value = json.loads(message.payload)["v"]
            found.add(value["t"] if isinstance(value, dict) else value)
    return found


def connected(broker: Mosquitto, ear: Ear | None = None) -> AbstractAsyncContextManager[mqtt.Connection]:
    return mqtt.connect(broker.login("ingestion"), Client("ear"), ear)


async def test_what_nobody_has_subscribed_to_waits_for_who_comes(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "UNHEARD_SECONDS", 1.0)
    broker, ear = mosquitto(), Ear()

    async with delivering(tmp_path, broker.login("gateway")) as delivery, connected(broker, ear) as connection:
        await connection.subscribe("dev/other/#")
        await until(lambda: delivery.publisher._connection, "connected")
        for value in range(1, 6):
            say(delivery, "plc", value)
            say(delivery, "other", value)
        await until(lambda: values(ear, "other") == {1, 2, 3, 4, 5}, "whoever has a subscriber flows")
        await until(lambda: delivery.outbox.stored == 5, "the rest is kept")
        await connection.subscribe("dev/plc/#")
        await until(lambda: values(ear, "plc") == {1, 2, 3, 4, 5}, "all of it comes")
        await until(lambda: delivery.outbox.stored == 0, "and is let go")


async def test_without_receipts_the_brokers_word_is_enough(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()

    async with delivering(tmp_path, broker.login("gateway"), "none") as delivery:
        say(delivery, "plc", 1)
        await until(lambda: delivery.publisher._connection and not delivery.outbox.unsettled, "the broker has it")


async def test_without_receipts_those_who_listen_may_come_back_after_the_broker(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    """A broker that restarts takes everybody's connection: the first one back must not speak into the void."""
    broker = mosquitto()

    async with delivering(tmp_path, broker.login("gateway"), "none") as delivery:
        await until(lambda: delivery.publisher._connection, "it is connected")
        broker.stop()
        await until(lambda: not delivery.publisher._connection, "it has lost the broker")
        broker.start()
        await until(lambda: delivery.publisher._connection, "it is back")
        say(delivery, "plc", 1)
        ear = Ear()
        async with connected(broker, ear) as connection:
            await connection.subscribe("dev/#")
            await until(lambda: values(ear, "plc") == {1}, "what nobody heard is sent again")


async def test_who_has_met_an_ingester_goes_on_waiting_for_receipts(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker, other = mosquitto(), mosquitto()

    ear = Ear()
    async with delivering(tmp_path, broker.login("gateway")) as delivery, connected(broker, ear) as connection:
        await connection.subscribe("dev/#")
        say(delivery, "plc", 1)
        await until(lambda: values(ear, "plc") == {1}, "it flows")
        assert delivery.outbox.publisher is None
        await connection.publish("receipt-offer/ingestion", OFFER, retain=True)
        await until(lambda: delivery.outbox.publisher, "receipts are waited for")
        say(delivery, "plc", 2)
        await until(lambda: values(ear, "plc") == {1, 2}, "it flows")
        await until(lambda: delivery.outbox.stored == 1, "somebody has it, and no database does")
        name = delivery.outbox.publisher
    ear = Ear()
    # A broker that has lost what it retained.
    async with delivering(tmp_path, other.login("gateway")) as delivery, connected(other, ear) as connection:
        await connection.subscribe("dev/#")
        await until(lambda: values(ear, "plc") == {2}, "it is sent again")
        assert delivery.outbox.publisher == name
        assert not delivery.outbox.offered
        say(delivery, "plc", 3)
        await until(lambda: delivery.outbox.stored == 2, "kept")
        [payload] = [json.loads(m.payload) for m in ear.messages if m.topic == "dev/plc"]
        numbers = [[payload["n"], payload["n"]]]
        await connection.publish(f"receipt/{name}", json.dumps(numbers).encode())
        await until(lambda: delivery.outbox.stored == 1, "its receipt lets it go")


HOSTILE = [
    b"[[-99999999999999999999,0]]",
    b"[[1,99999999999999999999999]]",
    b"[[1,9007199254740991]]",
    b"[[0,0]]",
    b"[[3,1]]",
    b"[[1.5,2]]",
    b"[[true,2]]",
    b'[["1","2"]]',
    b"[[1,2,3]]",
    b"[1,2]",
    b"{}",
    b"",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[" + b"[1,1]," * 20_000 + b"[1,1]]",
]


async def test_a_hostile_receipt_lets_nothing_go(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker, ear = mosquitto(), Ear()

    async with (
        delivering(tmp_path, broker.login("gateway"), "ingestion") as delivery,
        connected(broker, ear) as connection,
    ):
        await connection.subscribe("dev/#")
        await until(lambda: delivery.publisher._connection, "connected")
        say(delivery, "plc", 1)
        say(delivery, "plc", 2)
        await until(lambda: values(ear, "plc") == {1, 2} and delivery.outbox.stored == 2, "sent, and kept")
        first, second = [json.loads(message.payload)["n"] for message in ear.messages]
        topic = f"receipt/{delivery.outbox.publisher}"
        never = json.dumps([[1, first + 5], [first, first + 5], [second + 1, second + 10**9]]).encode()
        for payload in [*HOSTILE, never]:
            await (await connection.publish(topic, payload))
        say(delivery, "plc", 3)
        await until(lambda: values(ear, "plc") == {1, 2, 3} and delivery.outbox.stored == 3, "it goes on")
        assert delivery.publisher._connection is not None
        await connection.publish(topic, json.dumps([[first, second]]).encode())
        await until(lambda: delivery.outbox.stored == 1, "a good one counts")


async def test_a_spool_that_cannot_be_opened_stops_no_live_reading(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker, ear = mosquitto(), Ear()
    (tmp_path / "spool-0.db").mkdir()

    async with (
        delivering(tmp_path, broker.login("gateway"), "ingestion") as delivery,
        connected(broker, ear) as connection,
    ):
        await connection.subscribe("dev/plc/#")
        await until(lambda: delivery.publisher._connection, "connected")
        assert "unable to open" in str(delivery.waiting_for())
        assert "the spool takes nothing" in str(delivery.problems())
        say(delivery, "plc", 1)
        say(delivery, "other", 7)  # nobody has it: it waits in memory
        await until(lambda: values(ear, "plc") == {1}, "it flows")
        (tmp_path / "spool-0.db").rmdir()
        await until(lambda: delivery.waiting_for() == [], "it is tried again")
        await until(lambda: delivery.outbox.stored == 1, "what waited is on the disk")
        await connection.subscribe("dev/other/#")
        say(delivery, "plc", 2)
        await until(lambda: values(ear, "plc") == {1, 2} and delivery.outbox.stored == 2, "with receipts now")
        assert "n" in json.loads(ear.messages[-1].payload)


async def filled(delivery: Delivery, limit: int | None = None) -> None:
    """The disk takes no more pages than it has, or than `limit`."""
    pages = "(SELECT page_count FROM pragma_page_count)" if limit is None else str(limit)

    def fill(database: sqlite3.Connection) -> None:
        found = database.execute(f"SELECT {pages}").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {found}")

    await delivery.outbox.spool._do(fill)


@pytest.mark.parametrize("receipts", ["none", "ingestion"])
async def test_what_a_full_disk_refuses_goes_to_the_broker_once_it_is_back(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], receipts: str
) -> None:
    broker, ear = mosquitto(), Ear()

    async with delivering(tmp_path, broker.login("gateway"), receipts) as delivery:
        outbox = delivery.outbox
        await until(lambda: delivery.publisher._connection, "connected")
        broker.stop()
        await until(lambda: not delivery.publisher._connection, "it has lost the broker")
        say(delivery, "plc", 0)
        await until(lambda: outbox.stored == 1, "the first is on disk")
        await filled(delivery)
        for value in range(1, 601):
            say(delivery, "plc", value)
        await until(lambda: outbox.failing, "the disk is full")
        await keeping_shown(delivery)
        broker.start()
        async with connected(broker, ear) as connection:
            await connection.subscribe("dev/#")
            await until(lambda: values(ear, "plc") == set(range(601)), "all of it comes, also from memory", 30)
            if receipts == "ingestion":
                assert outbox.waiting == 600, "until there is a receipt"
                said = [json.loads(message.payload) for message in ear.messages]
                numbers = [[one["n"], one.get("m", one["n"])] for one in said]
                await connection.publish(f"receipt/{said[0]['p']}", json.dumps(numbers).encode())
            await until(lambda: outbox.waiting == outbox.stored == 0 and not outbox.failing, "nothing is left")
            assert outbox.lose() == 0


async def test_a_disk_that_hangs_is_one_that_refuses(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ANSWER_SECONDS", 1.0)
    broker, ear, answers = mosquitto(), Ear(), threading.Event()

    async with delivering(tmp_path, broker.login("gateway"), "none") as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        hung = asyncio.create_task(delivery.outbox.spool._do(lambda _: answers.wait()))
        broker.stop()
        await until(lambda: not delivery.publisher._connection, "the broker is missed")
        for value in range(1, 101):
            say(delivery, "plc", value)
        await until(lambda: "has not answered" in " ".join(delivery.problems()), "it is a problem")
        assert "has not answered" in " ".join(delivery.waiting_for())
        broker.start()
        async with connected(broker, ear) as connection:
            await connection.subscribe("dev/#")
            await until(lambda: values(ear, "plc") == set(range(1, 101)), "memory goes to the broker")
        answers.set()
        await until(lambda: not delivery.problems() and not delivery.outbox.waiting, "the disk is there again")
        with pytest.raises(SpoolError, match="has not answered"):
            await hung


async def keeping_shown(delivery: Delivery) -> None:
    await delivery.gauges.show_growth(10.0, failing=delivery.outbox.failing is not None)
    assert metrics.spool_full._value.get() == 0, "a disk that is full is said"


async def test_a_stop_sends_what_a_full_disk_refuses_and_counts_what_is_lost(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker, ear = mosquitto(), Ear()

    async with delivering(tmp_path, broker.login("gateway"), "ingestion") as delivery:
        outbox = delivery.outbox
        await until(lambda: delivery.publisher._connection, "connected")
        broker.stop()
        await until(lambda: not delivery.publisher._connection, "it has lost the broker")
        await filled(delivery)
        for value in range(600):
            say(delivery, "plc", value)
        await until(lambda: outbox.failing, "the disk is full")
        delivery.publisher.finish()
        broker.start()
        async with connected(broker, ear) as connection:
            await connection.subscribe("dev/#")
            await until(lambda: values(ear, "plc") == set(range(600)), "a stop that has begun sends it", 30)
            assert outbox.waiting == 600
            await until(lambda: outbox.lose() == 0, "what the broker has is not counted as lost")
        say(delivery, "plc", 600)
        lost = metrics.dropped.labels("memory")._value.get()
        assert outbox.lose() == 1
        assert metrics.dropped.labels("memory")._value.get() == lost + 1


def test_a_clock_behind_what_the_spool_already_saw_is_a_problem(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def problems() -> list[str]:
        async with delivering(tmp_path, mosquitto().login("gateway")) as delivery:
            return delivery.problems()

    assert asyncio.run(problems()) == []
    now = time.time_ns()
    monkeypatch.setattr("gateway.delivery.spool_file.time.time_ns", lambda: now - 400 * 86_400 * 10**9)
    [said] = asyncio.run(problems())
    assert "clock is 400 days, " in said


def test_the_spool_of_a_gateway_that_is_no_more_keeps_its_name_and_numbers(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "ADOPT_SECONDS", 0.1)
    broker, ear = mosquitto(), Ear()

    async def scenario() -> None:
        async with spool_folder.claimed(tmp_path, 10**9, 1000.0), spool_folder.claimed(tmp_path, 10**9, 1000.0) as two:
            await two.write([Batch("dev/left", b'{"ts":1,"v":{"t":5}}', 1, 77)])
            assert two.owner
            name = two.owner.id
        async with (
            delivering(tmp_path, broker.login("gateway"), "ingestion") as delivery,
            connected(broker, ear) as connection,
        ):
            await connection.subscribe("dev/#")
            await until(lambda: values(ear, "left") == {5}, "it is emptied")
            payload = json.loads(ear.messages[0].payload)
            assert (payload["p"], payload["n"]) == (name, 77)
            say(delivery, "plc", 1)
            await until(lambda: values(ear, "plc") == {1}, "beside our own")
            await connection.publish(f"receipt/{name}", b"[[77,77]]")
            await until(lambda: not (tmp_path / "spool-1.db").exists(), "the empty file is removed")

    async def stop_before_it_is_empty() -> None:
        async with spool_folder.claimed(tmp_path, 10**9, 1000.0), spool_folder.claimed(tmp_path, 10**9, 1000.0) as two:
            await two.write([Batch("dev/left", b'{"ts":1,"v":{"t":6}}', 1, 77)])
        async with delivering(tmp_path, broker.login("gateway"), "ingestion") as delivery:
            await until(lambda: delivery._adoption._spools, "it is being emptied")
        assert (tmp_path / "spool-1.db").exists()

    asyncio.run(scenario())
    asyncio.run(asyncio.wait_for(stop_before_it_is_empty(), 20 * PATIENCE))


async def test_a_gateway_that_ends_later_has_its_spool_emptied_too(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "ADOPT_SECONDS", 0.1)
    monkeypatch.setattr(adoption, "AGAIN_SECONDS", 0.1)
    broker, ear = mosquitto(), Ear()

    async with (
        delivering(tmp_path, broker.login("gateway"), "none") as delivery,
        connected(broker, ear) as connection,
    ):
        await connection.subscribe("dev/#")
        (tmp_path / "spool-2.db").touch()
        (tmp_path / "spool-2.lock").mkdir()
        await until(lambda: delivery._adoption._said, "one that cannot be used is said")
        async with spool_folder.claimed(tmp_path, 10**9, 1000.0) as other:
            await other.write([Batch("dev/left", b'{"ts":1,"v":{"t":5}}', 1, 77)])
            await asyncio.sleep(0.5)
            assert values(ear, "left") == set(), "it is another's"
        await until(lambda: values(ear, "left") == {5}, "it is emptied")
        await until(lambda: not (tmp_path / "spool-1.db").exists(), "the empty file is removed")


async def test_an_adopted_spool_that_is_emptied_while_it_is_joined_costs_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "ADOPT_SECONDS", 0.0)
    broker, joining = Wayward(lambda _: 0), asyncio.Event()
    join = Receipts.join

    async def slowly(self: Receipts, connection: mqtt.Connection) -> None:
        if self._outbox.spool.number == 1 and not joining.is_set():
            joining.set()
            self._outbox.committed(77, 77)
            self._outbox._finished.add(77, 77)
            await self._outbox.flush()
            await asyncio.sleep(1.5)  # longer than the empty spool stays open
        await join(self, connection)

    monkeypatch.setattr(Receipts, "join", slowly)

    async with spool_folder.claimed(tmp_path, 10**9, 1000.0), spool_folder.claimed(tmp_path, 10**9, 1000.0) as two:
        await two.write([Batch("dev/left", b'{"ts":1,"v":{"t":5}}', 1, 77)])
    async with broker.listening() as where, delivering(tmp_path, where, "none") as delivery:
        await until(joining.is_set, "the replay is on its way")
        await until(lambda: not (tmp_path / "spool-1.db").exists(), "the empty file is removed")
        for value in range(1, 30):
            say(delivery, "plc", value)
            await asyncio.sleep(0.1)
        await until(lambda: broker.has("plc") == 29, "and all goes on")
    assert broker.connections == 1


class Wayward:
    """A broker that answers each PUBLISH as `verdict(topic)` says: a reason code, silence, or the end, with a word or without."""

    SILENCE, END, SLAM = -1, -2, -3

    def __init__(self, verdict: Callable[[str], int], largest: int = 0) -> None:
        self._verdict = verdict
        self.largest = largest  # packet, as it says
        self.connections = 0
        self.taken: list[tuple[str, bytes]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Broker]:
        async with listening(self._talk) as port:
            yield Broker("127.0.0.1", port)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            [kind], length, shift = await reader.readexactly(1), 0, 0
            while True:
                [byte] = await reader.readexactly(1)
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if self.largest and length + 5 > self.largest:
                writer.write(b"\xe0\x01\x95")
                return
            if not self._answer(writer, kind >> 4, await reader.readexactly(length)):
                return

    def _answer(self, writer: asyncio.StreamWriter, kind: int, body: bytes) -> bool:
        if kind == 1:
            says = b"\x27" + self.largest.to_bytes(4, "big") if self.largest else b""
            writer.write(bytes([0x20, 3 + len(says), 0, 0, len(says)]) + says)
        elif kind == 8:
            code = self._verdict(body[5 + body[2] : -1].decode())
            if code == self.END:
                writer.write(b"\xe0\x01\x87")
                return False
            writer.write(b"\x90\x04" + body[:2] + bytes([0, code or 1]))
        elif kind == 12:
            writer.write(b"\xd0\x00")
        elif kind == 3:
            size = int.from_bytes(body[:2], "big")
            topic, mid = body[2 : 2 + size].decode(), body[2 + size : 4 + size]
            code = self._verdict(topic)
            if code == self.SLAM:
                return False
            if code == self.END:
                writer.write(b"\xe0\x01\x87")
                return False
            if code != self.SILENCE:
                writer.write(b"\x40\x03" + mid + bytes([code]))
            if code == 0:
                self.taken.append((topic, body[5 + size + body[4 + size] :]))
        return kind != 14

    def has(self, device: str) -> int:
        return len([topic for topic, _ in self.taken if topic.startswith(f"dev/{device}")])


@pytest.mark.parametrize("receipts", ["ingestion", "none"])
@pytest.mark.parametrize("refusal", [0x87, Wayward.END])
async def test_a_denied_topic_waits_and_the_others_flow(
    tmp_path: Path, refusal: int, receipts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = False
    broker = Wayward(lambda topic: refusal if topic.startswith("dev/bad") and not allowed else 0)

    async with broker.listening() as where, delivering(tmp_path, where, receipts) as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        for value in range(1, 4):
            for device in ("good", "bad", "fine"):
                say(delivery, device, value)
        await until(lambda: "dev/bad" in delivery.blocked.denied, "the guilty one is found out")
        await until(lambda: delivery.publisher._connection, "connected again")
        connections = broker.connections
        for value in range(4, 10):
            for device in ("good", "bad", "fine"):
                say(delivery, device, value)
        await until(lambda: broker.has("good") >= 9 and broker.has("fine") >= 9, "the others flow")
        await until(lambda: delivery.outbox.stored >= 9, "what is denied waits")
        assert broker.connections == connections, "nobody is disconnected any more"
        assert ["dev/bad" in said for said in delivery.problems()] == [True], "/health names it"
        allowed = True
        now = asyncio.get_running_loop().time
        monkeypatch.setattr(
            delivery.blocked, "trial", lambda _: BlockedTopics.trial(delivery.blocked, now() + FIRST_SECONDS)
        )
        await until(lambda: broker.has("bad") >= 9, "it is tried again")
        assert not delivery.blocked.denied


async def test_acknowledgements_that_stay_away_show_and_end_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "PUBACK_SECONDS", 0.3)
    answer = Wayward.SILENCE
    broker = Wayward(lambda _: answer)

    async with broker.listening() as where, delivering(tmp_path, where, "none") as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        say(delivery, "plc", 1)
        await until(lambda: broker.connections >= 2, "a new connection is made")
        assert "acknowledgements" in str(delivery.waiting_for())
        answer = 0
        say(delivery, "plc", 2)
        await until(lambda: broker.has("plc") >= 2 and delivery.waiting_for() == [], "and all is well", 40)


async def test_on_a_slow_link_live_readings_pass_a_backlog_and_the_connection_lasts(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "PUBACK_SECONDS", 3.0)
    broker, ear = mosquitto(), Ear()
    slow = asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_a_second: int | None) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(4096):
                await asyncio.sleep(len(data) / bytes_a_second if bytes_a_second else 0)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await slow.wait()
        onward, back = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(carry(reader, back, 100_000), carry(onward, writer, None))

    async with listening(link) as port:
        where = dataclasses.replace(broker.login("gateway"), port=port)
        async with delivering(tmp_path, where, "none") as delivery, connected(broker, ear) as connection:
            await connection.subscribe("dev/#")
            for at in range(10):
                readings = [Reading(f"temperature_of_tank_{n:04}", at, 20.5 + n / 7) for n in range(1000)]
                delivery.publisher.scan(PublishOptions("big", "device", {}), readings)
            await until(lambda: delivery.outbox.stored == 10, "the backlog is on disk")
            slow.set()
            await until(lambda: delivery.publisher._connection, "connected")
            first = delivery.publisher._connection
            for value in range(1, 6):
                await until(lambda value=value: len(ear.messages) >= value, "the backlog flows")  # type: ignore[misc]
                say(delivery, "live", value)
            await until(lambda: values(ear, "live") == {1, 2, 3, 4, 5}, "live readings pass")
            before = [message.topic for message in ear.messages].index("dev/live/t")
            assert before < 5
            await until(lambda: not delivery.outbox.stored, "all of the backlog comes", 60)
            assert delivery.publisher._connection is first


@pytest.mark.parametrize("publish", ["device", "tag"])
async def test_what_is_larger_than_the_broker_takes_goes_in_parts(tmp_path: Path, publish: str) -> None:
    broker = Wayward(lambda _: 0, largest=1000)
    publish_options = PublishOptions("plc", publish, {"t7": "bar"})  # type: ignore[arg-type]
    readings = [Reading(f"t{number}", 1000 + number % 3, number) for number in range(300)]
    readings[100] = Reading("t100", 1000, "x" * 3000)

    def came() -> dict[str, object]:
        found: dict[str, object] = {}
        for topic, payload in broker.taken:
            value = json.loads(payload)["v"]
            found |= value if isinstance(value, dict) else {topic.rpartition("/")[2]: value}
        return found

    def parted() -> dict[str, int]:
        """The times of what came in device messages."""
        parts = [json.loads(payload) for topic, payload in broker.taken if topic == "dev/plc"]
        return {tag: part.get("t", {}).get(tag, part["ts"]) for part in parts for tag in part["v"]}

    async with broker.listening() as where, delivering(tmp_path, where, "none") as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        delivery.publisher.scan(publish_options, readings)
        await until(lambda: len(came()) == 299, "all but the one that is too large by itself")
        await until(lambda: len(parted()) == 299, "by way of the disk")
        await until(lambda: delivery.outbox.stored == 1, "the one waits")
        say(delivery, "plc", 5)
        await until(lambda: came().get("t") == 5, "and holds up no other")
        assert broker.connections == 1
        assert all(time == 1000 + int(tag[1:]) % 3 for tag, time in parted().items() if tag != "t")
        parts = [json.loads(payload) for topic, payload in broker.taken if topic == "dev/plc"]
        assert all(part["u"] == {"t7": "bar"} for part in parts if "t7" in part["v"])
        broker.largest = 100_000
        assert delivery.publisher._connection
        delivery.publisher._connection.stream.drop("cut")
        await until(lambda: came().get("t100") == "x" * 3000, "a broker that takes more gets it")
        await until(lambda: delivery.outbox.stored == 0, "and nothing is left")


def online(delivery: Delivery, *devices: str) -> None:
    for device in devices:
        delivery.states.say(device, Status("online", "", 1))


@pytest.mark.parametrize("refusal", [0x87, Wayward.END, Wayward.SLAM])
async def test_a_state_that_is_refused_is_left_out_and_all_else_flows(
    tmp_path: Path, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_topics, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(control_topics, "PATIENCE", 5.0)
    broker = Wayward(lambda topic: refusal if topic == "status/bad" else 0)
    devices = ["good", "bad", *(f"d{number}" for number in range(20))]

    async with broker.listening() as where, delivering(tmp_path, where, "none") as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        online(delivery, *devices)
        say(delivery, "plc", 1)
        await until(lambda: list(delivery._control.denied) == ["status/bad"], "the guilty one is found out", 40)
        assert delivery.blocked.denied == {}.keys()
        await until(lambda: delivery.publisher._connection, "connected again")
        connections = broker.connections
        broker.taken.clear()
        online(delivery, *devices)
        say(delivery, "plc", 2)
        others = {f"status/{device}" for device in devices} - {"status/bad"}
        await until(lambda: others <= {topic for topic, _ in broker.taken}, "the others are said")
        await until(lambda: broker.has("plc"), "and readings flow")
        assert broker.connections == connections


async def test_the_broker_forgets_the_states_of_who_is_gone(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_states, "EXPIRY_SECONDS", 3)
    monkeypatch.setattr(device_states, "AGAIN_SECONDS", 1.0)
    broker = mosquitto()

    async def known() -> dict[str, str]:
        ear = Ear()
        async with mqtt.connect(broker.login("viewer"), Client("ear"), ear) as connection:
            await connection.subscribe("status/#")
            await connection.subscribe("alarm/#")  # what is retained came before
            return {message.topic: json.loads(message.payload)["state"] for message in ear.messages}

    async with delivering(tmp_path, broker.login("gateway"), "none") as delivery:
        online(delivery, "plc", "gone", "moved")
        await until(lambda: delivery.publisher._connection, "connected")
        delivery.states.end("gone", Status("offline", "no longer in the device files", 1))
        delivery.states.forget("moved")
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 6:
            assert (await known()).get("status/plc") == "online", "said again before it is forgotten"
            await asyncio.sleep(0.2)
        assert await known() == {"status/plc": "online"}
    deadline = asyncio.get_running_loop().time() + 15 * PATIENCE
    while await known() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
    assert await known() == {}, "nobody is left to say it"


@pytest.mark.parametrize("refusal", [0x87, Wayward.END])
async def test_a_subscription_that_is_refused_costs_itself_only(
    tmp_path: Path, refusal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = Wayward(lambda topic: refusal if topic.startswith("receipt/") else 0)

    async def wait_for_name(delivery: Delivery) -> str:
        await until(lambda: delivery.publisher._connection, "connected")
        assert delivery.outbox.name
        return delivery.outbox.name

    async with broker.listening() as where, delivering(tmp_path, where, "ingestion") as delivery:
        name = await wait_for_name(delivery)
        say(delivery, "plc", 1)
        await until(lambda: broker.has("plc"), "readings flow")
        assert list(delivery._control.denied) == [f"receipt/{name}"]
        [said] = delivery.problems()
        assert "receipt/…" in said
        assert name not in said, "it is a secret"
        assert broker.connections <= 2
        assert name not in capsys.readouterr().err, "it is a secret"


async def test_a_broker_that_takes_next_to_nothing_does_not_blow_up_the_spool(tmp_path: Path) -> None:
    broker = Wayward(lambda _: 0, largest=300)

    async with broker.listening() as where, delivering(tmp_path, where, "none") as delivery:
        await until(lambda: delivery.publisher._connection, "connected")
        delivery.publisher.scan(PublishOptions("plc", "device", {}), [Reading(f"t{n}", 1000, n) for n in range(200)])
        await until(lambda: delivery.outbox.stored == 1, "it waits on the disk")
        say(delivery, "other", 1)
        await until(lambda: broker.has("other"), "what is small enough flows")
        assert delivery.outbox.stored == 1, "in one piece"
        broker.largest = 100_000
        assert delivery.publisher._connection
        delivery.publisher._connection.stream.drop("cut")
        await until(lambda: broker.has("plc") and delivery.outbox.stored == 0, "a better one gets it")


async def test_a_state_is_said_only_while_the_device_is_ours(tmp_path: Path) -> None:
    broker, ours = Wayward(lambda _: 0), {"one"}

    async with (
        broker.listening() as where,
        delivering(tmp_path, where, "none", ours.__contains__) as delivery,
    ):
        online(delivery, "one", "two", "three")
        await until(lambda: broker.taken, "ours is said")
        ours.add("two")
        await until(lambda: len(broker.taken) == 2, "another as soon as it is ours")
        ours.remove("one")
        delivery.publisher.finish()
        await until(lambda: len(broker.taken) == 3, "the last one")
    said = [(name, json.loads(payload[payload.index(b"{") :])["state"]) for name, payload in broker.taken]
    assert said == [("status/one", "online"), ("status/two", "online"), ("status/two", "offline")]
