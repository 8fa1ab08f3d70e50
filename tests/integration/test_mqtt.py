"""The MQTT session against a real broker."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from nexus.mqtt import (
    NO_MATCHING_SUBSCRIBERS,
    PACKET_TOO_LARGE,
    Broker,
    Client,
    Connection,
    Message,
    MqttError,
    Tls,
    Will,
    connect,
    stay_connected,
)
from nexus.process.errors import InvariantError
from nexus.process.run import run
from tests.asker import Asker
from tests.parts import ANYBODY, PATIENCE, Mosquitto
from tests.peer import listening

Make = Callable[..., Mosquitto]
WAIT = 10.0 * PATIENCE


def at(broker: Mosquitto, **keys: Any) -> Broker:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": broker.port, **keys}
    return Broker(**given)


class Inbox:
    """What arrived, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[Connection, Message]] = asyncio.Queue()

    def __call__(self, connection: Connection, message: Message) -> None:
        self.messages.put_nowait((connection, message))

    async def next(self) -> tuple[Connection, Message]:
        async with asyncio.timeout(WAIT):
            return await self.messages.get()


async def test_what_is_published_arrives_and_is_acknowledged(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    async with connect(broker, Client("sub-1"), inbox) as subscriber, connect(broker, Client("pub-1")) as publisher:
        await subscriber.subscribe("a/#")
        for number in range(1000):
            last = await publisher.publish(f"a/{number % 7}", b"%d" % number)
        assert await last == 0
        received = []
        for _ in range(1000):
            connection, message = await inbox.next()
            connection.acknowledge(message.packet_id)
            received.append(int(message.payload))
        assert received == list(range(1000))


async def test_what_is_subscribed_to_at_most_once_needs_no_acknowledgement(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    async with connect(broker, Client("sub-qos0"), inbox) as subscriber, connect(broker, Client("pub-q")) as publisher:
        await subscriber.subscribe("qos0/#", at_most_once=True)
        assert await (await publisher.publish("qos0/a", b"1")) == 0
        assert (await inbox.next())[1].packet_id is None


async def test_many_subscriptions_take_few_packets_and_end_likewise(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    names = [f"many/{number}/{'x' * 100}" for number in range(500)]
    async with connect(broker, Client("sub-many"), inbox) as subscriber, connect(broker, Client("pub-m")) as publisher:
        assert await subscriber.subscribe_all(names) == []
        for name in (names[0], names[-1]):
            await publisher.publish(name, b"1")
            connection, message = await inbox.next()
            assert message.topic == name
            connection.acknowledge(message.packet_id)
        await subscriber.unsubscribe(*names[:-1])
        for name in (names[0], names[-1]):
            await publisher.publish(name, b"2")
        assert (await inbox.next())[1].topic == names[-1], "and of the others nothing came before it"


async def test_a_request_says_where_its_answer_is_wanted(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    async with connect(broker, Client("sub-ask"), inbox) as subscriber, connect(broker, Client("pub-a")) as publisher:
        await subscriber.subscribe("ask/#")
        await publisher.publish("ask/a", b"1", response_topic="answer/me", correlation=b"7")
        message = (await inbox.next())[1]
        assert (message.response_topic, message.correlation_data) == ("answer/me", b"7")


async def test_what_is_not_acknowledged_comes_again(shared_mosquitto: Mosquitto) -> None:
    inbox, broker, client = Inbox(), at(shared_mosquitto), Client("sub-2", session_seconds=60)
    async with connect(broker, client, inbox) as subscriber:
        assert not subscriber.session_present
        await subscriber.subscribe("$share/g/b/#")
        async with connect(broker, Client("pub-2")) as publisher:
            for payload in (b"1", b"2", b"3"):
                await (await publisher.publish("b/x", payload))
        for _ in range(3):
            connection, message = await inbox.next()
            if message.payload == b"2":
                connection.acknowledge(message.packet_id)
    async with connect(broker, client, inbox) as subscriber:
        assert subscriber.session_present
        again = []
        for _ in range(2):
            connection, message = await inbox.next()
            connection.acknowledge(message.packet_id)
            again.append(message.payload)
        assert sorted(again) == [b"1", b"3"]
        subscriber.end_session()
    async with connect(broker, client, inbox) as subscriber:
        assert not subscriber.session_present
        subscriber.end_session()


async def test_a_goodbye_ends_when_the_broker_has_read_it() -> None:
    """Else whoever connects next, maybe ourselves, overtakes our last words."""
    read: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.read(1000))[0] == 0x10
        writer.write(b"\x20\x03\x00\x00\x00" + b"\x30\x06\x00\x01a\x00bc")
        first = await reader.readexactly(1)
        writer.write(b"\x30\x06\x00\x01a\x00bc" * 1000)  # which nobody reads any more
        await asyncio.sleep(0.2)
        read.append(first)
        writer.close()

    async with listening(slow) as port:
        async with connect(Broker("127.0.0.1", port), Client("x")):
            pass
        assert read == [b"\xe0"]


async def test_the_receive_maximum_holds_the_broker_back(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    async with connect(broker, Client("sub-3", receive_maximum=5), inbox) as subscriber:
        await subscriber.subscribe("c/#")
        async with connect(broker, Client("pub-3")) as publisher:
            for number in range(20):
                await (await publisher.publish("c/x", b"%d" % number))
        held = [await inbox.next() for _ in range(5)]
        # A round trip behind the five shows that the sixth is not under way.
        await subscriber.subscribe("c/other")
        assert inbox.messages.empty()
        for connection, message in held:
            connection.acknowledge(message.packet_id)
        for _ in range(15):
            connection, message = await inbox.next()
            connection.acknowledge(message.packet_id)
        assert int(message.payload) == 19


async def test_the_will_is_published_when_the_block_is_left_by_an_error(shared_mosquitto: Mosquitto) -> None:
    inbox, broker = Inbox(), at(shared_mosquitto)
    async with connect(broker, Client("sub-4"), inbox) as subscriber:
        await subscriber.subscribe("will/#")
        client = Client("pub-4", will=Will("will/a", b"gone", retain=False))
        async with connect(broker, client) as leaving:
            await (await leaving.publish("elsewhere", b""))
        with pytest.raises(RuntimeError):
            async with connect(broker, client):
                raise RuntimeError("a fault")
        _, message = await inbox.next()
        assert message.payload == b"gone"
        assert inbox.messages.empty()


async def test_the_block_ends_when_the_broker_dies(mosquitto: Make) -> None:
    with pytest.raises(MqttError):
        broker = mosquitto(access=ANYBODY)
        async with asyncio.timeout(WAIT), connect(at(broker), Client("c")) as connection:
            await (await connection.publish("a", b"1"))
            await asyncio.to_thread(broker.stop, signal.SIGKILL)
            await asyncio.Event().wait()


async def test_it_connects_again_after_the_broker_was_away(mosquitto: Make) -> None:
    broker, served = mosquitto(access=ANYBODY), 0

    def bounce() -> None:
        broker.stop()
        broker.start()

    async def serve(connection: Connection) -> None:
        nonlocal served
        served += 1
        await (await connection.publish("a", b"1"))
        if served == 1:
            asyncio.get_running_loop().run_in_executor(None, bounce)
            await asyncio.Event().wait()

    async with asyncio.timeout(WAIT):
        await stay_connected(at(broker), Client("c"), serve)
    assert served == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"port": 1}, "connection refused: nothing listens there"),
        ({"host": "no-such-host.invalid"}, "the host's name cannot be resolved"),
    ],
)
async def test_what_keeps_it_from_connecting_is_said(
    shared_mosquitto: Mosquitto, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(MqttError, match=said):
        async with connect(at(shared_mosquitto, **keys), Client("c")):
            pass


@pytest.mark.parametrize("wait_for", ["subscription", "publication", "gathered"])
def test_who_waits_for_a_broker_that_dies_connects_again(wait_for: str) -> None:
    """Nobody passes for cancelled, and ends without a word, because his answer will never come."""
    peers: list[asyncio.StreamWriter] = []

    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        await reader.read(1)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK, and then no word to what follows
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"x/y")
        writer.close()

    async def serve(connection: Connection) -> None:
        if len(peers) > 1:
            return
        if wait_for == "subscription":
            await connection.subscribe("x/y")
        answer = await connection.publish("x/y", b"")
        await (answer if wait_for == "publication" else asyncio.gather(answer))

    async def scenario() -> None:
        server = await asyncio.start_server(dying, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(WAIT):
            await stay_connected(Broker("127.0.0.1", port), Client("patient"), serve)
        server.close()

    asyncio.run(scenario())
    assert len(peers) == 2


MESSAGE = b"\x32\x08\x00\x01a\x00\x01\x00hi"
ACCEPTED = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("lie", "reason_code"),
    [
        (b"\x40\x00", 0x81),  # a PUBACK without an id
        (b"\x40\x02\x00\x09", 0x82),  # of what we have not sent
        (b"\x32\x02\x00\x09", 0x81),  # a PUBLISH whose topic is longer than it is
        (b"\x32\x06\x00\x01a\x00\x00\x00", 0x82),  # with packet id 0
        (b"\x34\x06\x00\x01a\x00\x02\x00", 0x82),  # of QoS 2, and we subscribe with 1
        (b"\x36\x06\x00\x01a\x00\x02\x00", 0x81),  # of QoS 3
        (b"\x30\x07\x00\x01a\x03\x23\x00\x01", 0x94),  # with a topic alias, and we allow none
        (b"\x30\xff\xff\xff\xff\xff", 0x81),  # a length without end
        (b"\x30\xff\xff\xff\x7f", 0x95),  # more than we said that we take
        (b"\x90\x01\x00", 0x81),  # a SUBACK cut short
        (b"\x90\x04\x00\x09\x00\x00", 0x82),  # of what we have not asked
        (b"\x20\x02\x00\x00", 0x81),  # a CONNACK cut short
        (ACCEPTED, 0x82),  # a second one
        (b"\xe0\x02\x81\x09", 0x81),  # a DISCONNECT whose properties are missing
        (b"\xe0\x05\x81\x03\x1f\x00\xff", 0x81),  # whose text is cut short
        (b"\xf0\x00", 0x82),  # an AUTH
        (b"\xc0\x00", 0x82),  # a PINGREQ
        (b"\x00\x00", 0x81),
    ],
)
def test_a_broker_that_lies_is_left_and_asked_again(
    lie: bytes, reason_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing behind a malformed packet is read, nothing before it is given twice, and no callback fails."""
    goodbyes: list[bytes] = []
    faults: list[object] = []
    monkeypatch.setattr("random.uniform", lambda *_: 0.01)

    async def lying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(ACCEPTED + MESSAGE)
        if len(goodbyes) < 2:
            writer.write(lie + MESSAGE)
        goodbyes.append(await reader.read())
        writer.close()

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        server = await asyncio.start_server(lying, "127.0.0.1", 0)
        inbox = Inbox()

        async def serve(_: Connection) -> None:
            while inbox.messages.qsize() < 3:
                await asyncio.sleep(0.01)

        broker = Broker("127.0.0.1", server.sockets[0].getsockname()[1])
        async with asyncio.timeout(WAIT):
            await stay_connected(broker, Client("c"), serve, inbox)
            while len(goodbyes) < 3:
                await asyncio.sleep(0.01)
        assert inbox.messages.qsize() == 3
        server.close()

    asyncio.run(scenario())
    assert faults == []
    assert [goodbye[-3:] for goodbye in goodbyes[:2]] == [bytes((0xE0, 1, reason_code))] * 2


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def spoken(talk: Talk) -> AsyncIterator[Broker]:
    """A broker that reads the first byte, talks as told, and hangs up when it has; the block ends with that."""
    talking: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.append(asyncio.current_task())
        await reader.read(1)
        await talk(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Broker("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*(one for one in talking if one is not None))


@pytest.mark.parametrize("first", [MESSAGE, b"\xd0\x00", b"\xe0\x01\x8b", b"\x20\x06\x00\x00\x03\x21\x00\x00"])
async def test_a_broker_that_does_not_begin_with_a_connack_is_left(first: bytes) -> None:
    """The last one is a CONNACK that allows us to send nothing."""

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await reader.read()

    inbox = Inbox()
    async with spoken(rude) as broker:
        with pytest.raises(MqttError, match="the broker sent a forbidden packet"):
            async with connect(broker, Client("c"), inbox):
                pass
    assert inbox.messages.empty()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x90\x03\xfd\xe9\x00", "a SUBACK with 0 reason codes"),
        (b"\x90\x05\xfd\xe9\x00\x01\x01", "a SUBACK with 2 reason codes"),
        (b"\xb0\x04\xfd\xe9\x00\x00", "a UNSUBACK for packet id 65001"),
        (b"\x90\x04\xfd\xea\x00\x01", "a SUBACK for packet id 65002"),
        (b"\x40\x02\xfd\xe9", "a PUBACK for packet id 65001"),
    ],
)
def test_an_answer_that_is_none_to_our_subscription_ends_the_connection(answer: bytes, reason: str) -> None:
    said = b""

    async def wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(ACCEPTED)
        first = await reader.readuntil(b"x/y")
        writer.write(answer)
        said = first + await reader.read()

    async def scenario() -> None:
        async with spoken(wrong) as broker, asyncio.timeout(WAIT):
            with pytest.raises(MqttError, match=f"the broker sent a forbidden packet: {reason}"):
                async with connect(broker, Client("c")) as connection:
                    await connection.subscribe("x/y")

    asyncio.run(scenario())
    assert b"\xfd\xe9" in said  # its id
    assert said.endswith(b"\xe0\x01\x82")


@pytest.mark.parametrize(
    "unreadable",
    [
        b"\x32\x08\x00\x01\xff\x00\x07\x00hi",  # a topic that is not UTF-8
        b"\x32\x08\x00\x01#\x00\x07\x00hi",
        b"\x32\x08\x00\x01+\x00\x07\x00hi",
        b"\x32\x08\x00\x01\x00\x00\x07\x00hi",
        b"\x32\x0c\x00\x01a\x00\x07\x04\x08\x00\x01\xffhi",  # a response topic that is not
        b"\x32\x11\x00\x01a\x00\x07\x09\x09\x00\x00\x26\x00\x01\xff\x00\x00hi",  # a user property that is not
    ],
)
def test_a_message_that_nobody_can_read_costs_itself(unreadable: bytes) -> None:
    """A lenient broker passes on what any client sends it: ending the connection would let him stop us for good."""
    said = b""

    async def lenient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(ACCEPTED + unreadable * 20 + MESSAGE)
        said = await reader.read()

    async def scenario() -> None:
        inbox = Inbox()
        async with spoken(lenient) as broker, connect(broker, Client("c"), inbox) as connection:
            assert (await inbox.next())[1].topic == "a"
            assert connection.lost is None

    asyncio.run(scenario())
    assert said.count(b"\x40\x03\x00\x07\x90") == 20


def test_a_message_that_comes_again_while_we_hold_it_is_given_once() -> None:
    """So do brokers that send again what is not acknowledged for a while."""
    said = b""

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(ACCEPTED + MESSAGE + b"\x3a" + MESSAGE[1:] + b"\x30\x04\x00\x01b\x00")
        said = await reader.read()

    async def scenario() -> None:
        inbox = Inbox()
        async with spoken(impatient) as broker, connect(broker, Client("c"), inbox) as connection:
            _, message = await inbox.next()
            assert (await inbox.next())[1].topic == "b"
            for _ in range(2):
                connection.acknowledge(message.packet_id)

    asyncio.run(scenario())
    assert said.count(b"\x40\x02\x00\x01") == 1


def test_what_is_larger_than_the_broker_takes_is_not_sent() -> None:
    said = b""
    codes: list[int] = []

    async def small(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x20")
        said = await reader.read()

    async def scenario() -> None:
        async with spoken(small) as broker, connect(broker, Client("c")) as connection:
            assert connection.maximum_packet_size == 32
            connection.send("a", b"x" * 100, codes.append)
            assert await (await connection.publish("a", b"y" * 100)) == PACKET_TOO_LARGE
            connection.send("a", b"z" * 20, codes.append)

    asyncio.run(scenario())
    assert codes == [PACKET_TOO_LARGE]
    assert [byte in said for byte in (b"x", b"y", b"z")] == [False, False, True]


@pytest.mark.parametrize("topic", ["", "a/#", "+/a", "a\0b", "a" * 65536, "\ud800"])
async def test_what_is_no_topic_is_not_sent(shared_mosquitto: Mosquitto, topic: str) -> None:
    async with connect(at(shared_mosquitto), Client("c")) as connection:
        room = connection.send_quota
        with pytest.raises(ValueError, match="not a topic to publish on"):
            connection.send(topic, b"", lambda _: None)
        assert await (await connection.publish("a", b"")) in (0, NO_MATCHING_SUBSCRIBERS)
        assert connection.send_quota == room


def test_a_broker_that_falls_silent_is_left() -> None:
    """It keeps the connection, and answers no PINGREQ."""
    said = b""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(ACCEPTED)
        said = await reader.read()

    async def scenario() -> None:
        async with spoken(silent) as broker, asyncio.timeout(WAIT):
            with pytest.raises(MqttError, match="the broker was silent for 2 s"):
                async with connect(replace(broker, keepalive=1), Client("c")):
                    await asyncio.Event().wait()

    asyncio.run(scenario())
    assert b"\xc0\x00" in said
    assert said.endswith(b"\xe0\x01\x8d")


async def test_who_reads_nothing_stays_connected(shared_mosquitto: Mosquitto) -> None:
    """The broker throws out who was silent for one and a half times the keep-alive."""

    inbox, broker = Inbox(), at(shared_mosquitto, keepalive=1)
    async with connect(broker, Client("paused"), inbox) as subscriber, connect(broker, Client("p")) as publisher:
        await subscriber.subscribe("paused/#")
        subscriber.pause()
        for number in range(3):
            await (await publisher.publish("paused/x", b"%d" % number))
            await asyncio.sleep(1)
        assert inbox.messages.empty()
        subscriber.resume()
        assert [(await inbox.next())[1].payload for _ in range(3)] == [b"0", b"1", b"2"]
        assert subscriber.lost is None


async def test_a_network_that_takes_nothing_leaves_no_room_and_is_left_in_time() -> None:
    """What is sent waits here, and no more of it comes; leaving does not wait for the network either."""

    left = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await left.wait()

    async with spoken(deaf) as broker:
        async with connect(broker, Client("c")) as connection:
            sent = 0
            while connection.send_quota or await asyncio.sleep(0.05, connection.send_quota):
                await connection.publish("a", b"x" * 1_000_000)
                sent += 1
            assert sent < 50 < connection.window
            waiting = asyncio.ensure_future(connection.publish("a", b""))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            waiting.cancel()
            began = time.monotonic()
        assert time.monotonic() - began < 5
        left.set()


def test_a_message_of_qos_0_is_never_acknowledged() -> None:
    """A PUBACK for packet id 0 is no MQTT, and real brokers hang up on it."""
    said = b""

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        await reader.read(1)
        writer.write(ACCEPTED + b"\x30\x05\x00\x01a\x00x" + MESSAGE)
        said = await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        inbox = Inbox()
        async with connect(Broker("127.0.0.1", server.sockets[0].getsockname()[1]), Client("c"), inbox):
            for _ in range(2):
                connection, message = await inbox.next()
                connection.acknowledge(message.packet_id)
        async with asyncio.timeout(WAIT):
            while not said:
                await asyncio.sleep(0.01)
        server.close()

    asyncio.run(scenario())
    assert b"\x40\x02\x00\x01" in said
    assert b"\x40\x02\x00\x00" not in said


async def test_messages_of_qos_0_arrive_and_the_connection_stays(shared_mosquitto: Mosquitto) -> None:
    inbox = Inbox()
    async with connect(at(shared_mosquitto), Client("sub-0"), inbox) as subscriber:
        await subscriber.subscribe("q0/#")
        with Asker(shared_mosquitto.url, "elsewhere") as asker:
            for number in range(20):
                await asyncio.to_thread(asker.tell, "q0/x", b"%d" % number, qos=0)
            for number in range(20):
                connection, message = await inbox.next()
                connection.acknowledge(message.packet_id)
                assert int(message.payload) == number
            await asyncio.to_thread(asker.tell, "q0/x", b"last", qos=2)
            assert (await inbox.next())[1].payload == b"last"


def test_a_handler_that_fails_costs_its_message_only(shared_mosquitto: Mosquitto) -> None:
    taken: list[bytes] = []

    def fails(connection: Connection, message: Message) -> None:
        connection.acknowledge(message.packet_id)
        taken.append(message.payload)
        raise RuntimeError("a handler's fault")

    async def scenario() -> None:
        broker = at(shared_mosquitto)
        async with connect(broker, Client("sub-f"), fails) as subscriber, connect(broker, Client("pub-f")) as publisher:
            await subscriber.subscribe("f/#")
            for number in range(3):
                await (await publisher.publish("f/x", b"%d" % number))
            async with asyncio.timeout(WAIT):
                while len(taken) < 3:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert taken == [b"0", b"1", b"2"]


def test_a_broken_invariant_in_a_handler_ends_the_process_in_order() -> None:
    ended = ""

    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ACCEPTED + MESSAGE)
        await reader.read()

    def breaks(_connection: Connection, _message: Message) -> None:
        raise InvariantError("two and two are five")

    async def service(stop: asyncio.Event) -> None:
        nonlocal ended
        async with spoken(talkative) as broker:
            with suppress(MqttError):
                async with connect(broker, Client("c"), breaks):
                    await asyncio.Event().wait()
            async with asyncio.timeout(WAIT):
                await stop.wait()
            ended = "in order"

    assert run(service) == 1
    assert ended == "in order"


async def test_a_broker_that_answers_no_subscription_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus.mqtt.requests.ANSWER_SECONDS", 0.2)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x03\x00\x00\x00")
        await reader.read()

    async with asyncio.timeout(10), spoken(deaf) as broker:
        with pytest.raises(MqttError, match=r"no SUBACK for 0\.2 s"):
            async with connect(broker, Client("c")) as connection:
                await connection.subscribe("a/#")


async def test_a_connection_that_ends_with_its_connack_leaves_no_timer() -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x00")
        await reader.read()

    async with asyncio.timeout(10), spoken(closing) as broker:
        with pytest.raises(MqttError, match="disconnected"):
            async with connect(broker, Client("c")) as connection:
                stream = connection.stream
                await asyncio.Event().wait()
    assert stream.ended is not None
    assert stream._timer is None or stream._timer.cancelled()


async def test_a_broker_that_never_answers_is_given_up_when_the_client_says() -> None:
    async def scenario(port: int) -> None:
        async with asyncio.timeout(4), connect(Broker("127.0.0.1", port), Client("c", connect_seconds=0.2)):
            pass

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MqttError, match="no answer in time"):
        await scenario(silent.getsockname()[1])


@pytest.fixture
def secured(mosquitto: Make, broker_folder: Path) -> tuple[Mosquitto, Path]:
    """A broker that wants TLS, a client certificate, and a user that it knows by the certificate; and its files."""
    authority = trustme.CA()
    (broker_folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(broker_folder / "server.pem")
    client = authority.issue_cert("gateway", common_name="gateway")
    client.private_key_and_cert_chain_pem.write_to_path(broker_folder / "client.pem")
    for file in broker_folder.glob("*.pem"):
        file.chmod(0o644)
    access = (
        f"cafile {broker_folder}/ca.pem\ncertfile {broker_folder}/server.pem\nkeyfile {broker_folder}/server.pem\n"
        "require_certificate true\nuse_identity_as_username true\nallow_anonymous false"
    )
    return mosquitto(access=access), broker_folder


async def test_tls_with_a_client_certificate(secured: tuple[Mosquitto, Path]) -> None:
    broker, folder = secured
    tls = Tls(folder / "ca.pem", folder / "client.pem", folder / "client.pem")

    inbox = Inbox()
    async with connect(at(broker, tls=tls), Client("c"), inbox) as connection:
        await connection.subscribe("a/#")
        for number in range(200):
            await connection.publish("a/x", b"%d" % number * 300)
        for _ in range(200):
            found, message = await inbox.next()
            found.acknowledge(message.packet_id)


def test_a_certificate_that_we_do_not_trust_is_named(secured: tuple[Mosquitto, Path]) -> None:
    broker, _ = secured

    async def scenario() -> None:
        async with connect(at(broker, tls=Tls()), Client("c")):
            pass

    with pytest.raises(MqttError, match="we do not trust the broker's certificate"):
        asyncio.run(scenario())
    gc.collect()  # nothing is left behind, which would be a warning


async def test_a_broker_that_refuses_us_says_so(secured: tuple[Mosquitto, Path]) -> None:
    broker, folder = secured

    with pytest.raises(MqttError):
        async with connect(at(broker, tls=Tls(folder / "ca.pem")), Client("c")) as connection:
            await (await connection.publish("a", b"1"))


async def test_a_wrong_password_is_named(mosquitto: Make) -> None:
    broker = mosquitto()

    with pytest.raises(MqttError, match="the broker refused us as gateway: Not authorized"):
        async with connect(at(broker, user="gateway", password="wrong"), Client("c")):
            pass


async def test_a_full_window_leaves_room_for_what_is_urgent(shared_mosquitto: Mosquitto) -> None:
    async with connect(at(shared_mosquitto), Client("full")) as connection:
        while connection.send_quota:  # nothing is acknowledged before we yield
            connection.send("test/full", b"x", lambda _: None)
        waiting = asyncio.ensure_future(connection.publish("test/full", b"x"))
        urgent = asyncio.ensure_future(connection.publish("test/urgent", b"x", urgent=True))
        await asyncio.sleep(0)
        assert urgent.done()
        assert not waiting.done()
        await (await waiting)
