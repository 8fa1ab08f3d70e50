"""What our MQTT client costs by itself, in CPU of its process, against a floor measured in the same run. Prints JSON.

    python -m tests.benchmarks.mqtt [--messages N] [--rounds N]

`scan` is a gateway's way of tag messages, from the poller's readings to their PUBACKs; `publish` its client alone. The other side is a broker that does no more than it must, a process of its own: it acknowledges what it gets, and sends what
is asked of it. The floor does the same with bare asyncio and packets made beforehand: what no client can be cheaper than.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import mqtt5

from gateway.delivery import spool_folder
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox
from gateway.delivery.publish_options import PublishOptions
from gateway.delivery.publisher import Publisher
from nexus.contract.reading import Reading
from nexus.mqtt import Broker, Client, Connection, Message, connect

TOPICS = [f"dev/plant/line{line}/plc{plc:03}/temperature" for line in range(4) for plc in range(50)]
PAYLOAD = '{"v":84.5,"q":"good","ts":1703289600000,"u":"°C","p":"0123456789abcdef0123456789abcdef","n":123456}'.encode()
TAGS = 20
WINDOW = 1000
IDS = 60_000


def message(number: int) -> bytes:
    topic = TOPICS[number % len(TOPICS)]
    return mqtt5.PublishPacket(topic, payload=PAYLOAD, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number % IDS + 1).write()


def ack(number: int) -> bytes:
    return b"\x40\x02" + (number % IDS + 1).to_bytes(2, "big")


@cache
def made(one: Callable[[int], bytes]) -> bytes:
    """All packets of a kind."""
    return b"".join(map(one, range(IDS)))


def serve(server: socket.socket) -> None:
    """One connection after the other; a client id `consume-N` gets N messages, WINDOW at once."""
    while True:
        peer, _ = server.accept()
        with peer:
            _talk(peer)


def _talk(peer: socket.socket) -> None:
    rest, sent, wanted, acknowledged = b"", 0, 0, 0
    while data := peer.recv(1 << 20):
        data = rest + data
        view, at, answer = memoryview(data), 0, bytearray()
        while at < len(data):
            try:
                packet, size = mqtt5.read(view[at:])
            except IndexError:
                break
            at += size
            match packet:
                case mqtt5.ConnectPacket():
                    wanted = int(packet.client_id.partition("-")[2] or 0)
                    answer += mqtt5.ConnAckPacket().write()
                case mqtt5.PublishPacket():
                    answer += b"\x40\x02" + (packet.packet_id or 0).to_bytes(2, "big")
                case mqtt5.PubAckPacket():
                    acknowledged += 1
                case mqtt5.DisconnectPacket():
                    return
        rest = data[at:]
        while wanted and sent < min(wanted, acknowledged + WINDOW):
            answer += message(sent)
            sent += 1
        peer.sendall(answer)


async def publish(broker: Broker, messages: int) -> None:
    left, done = messages, asyncio.Event()

    def acknowledged(_: int, count: int) -> None:
        nonlocal left
        left -= count
        if left <= 0:
            done.set()

    scans = [[(topic, PAYLOAD) for topic in TOPICS[at : at + TAGS]] for at in range(0, len(TOPICS), TAGS)]
    async with connect(broker, Client("publish")) as connection:
        for number in range(messages // TAGS):
            if connection.send_quota < TAGS:
                await connection.has_quota(WINDOW // 2)
            connection.send_many(scans[number % len(scans)], acknowledged)
        await done.wait()


async def scan(broker: Broker, messages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with spool_folder.claimed(Path(folder), 10**9, 1e6) as spool:
            outbox, blocked = Outbox(spool, 10**6, "never"), BlockedTopics()
            publisher = Publisher(outbox, InFlight(outbox, blocked), blocked, ControlTopics())
            units = {f"t{tag:02}": "°C" for tag in range(TAGS)}
            devices = [PublishOptions(f"plant/line{one // 50}/plc{one:03}", "tag", units) for one in range(200)]
            readings = [Reading(tag, 1703289600000, 84.5) for tag in units]
            async with connect(broker, Client("publish")) as connection:
                serving = asyncio.create_task(publisher.serve(connection))
                for number in range(messages // TAGS):
                    if number % 10 == 0:
                        await publisher.has_room()
                    publisher.scan(devices[number % len(devices)], readings)
                publisher.finish()
                await serving


async def consume(broker: Broker, messages: int) -> None:
    left, done = messages, asyncio.Event()

    def taken(connection: Connection, message: Message) -> None:
        nonlocal left
        assert message.topic
        assert message.payload
        connection.acknowledge(message.packet_id)
        left -= 1
        if not left:
            done.set()

    async with connect(broker, Client(f"consume-{messages}"), taken):
        await done.wait()


class Floor(asyncio.Protocol):
    """Counts bytes, and sends what was made beforehand: nothing is read or made for each message.

    For each `per_unit` bytes that come, one of the IDS equal parts of `answers` goes, after the `lead` of the first ones.
    """

    def __init__(self, hello: bytes, answers: bytes, lead: int, per_unit: int, messages: int) -> None:
        self._hello = hello
        self._unit, self._twice = len(answers) // IDS, answers * 2
        self._lead, self._per_unit, self._messages = lead, per_unit, messages
        self._came = self._sent = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._hello)
        self._send(self._lead)

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        self._send(min(self._lead + self._came // self._per_unit, self._messages))
        if self._came >= self._messages * self._per_unit and not self.done.done():
            self.done.set_result(None)

    def _send(self, until: int) -> None:
        if until > self._sent:
            at = self._sent % IDS * self._unit
            self._transport.write(self._twice[at : at + (until - self._sent) * self._unit])
            self._sent = until


async def _floor(broker: Broker, floor: Callable[[], Floor]) -> None:
    transport, protocol = await asyncio.get_running_loop().create_connection(floor, broker.host, broker.port)
    await protocol.done
    transport.close()


async def publish_floor(broker: Broker, messages: int) -> None:
    hello = mqtt5.ConnectPacket("floor").write()
    await _floor(broker, lambda: Floor(hello, made(message), WINDOW, len(ack(0)), messages))


async def consume_floor(broker: Broker, messages: int) -> None:
    hello = mqtt5.ConnectPacket(f"consume-{messages}").write()
    await _floor(broker, lambda: Floor(hello, made(ack), 0, len(message(0)), messages))


CASES = {"scan": (scan, publish_floor), "publish": (publish, publish_floor), "consume": (consume, consume_floor)}


def microseconds(case: Callable[[Broker, int], Awaitable[None]], broker: Broker, messages: int) -> float:
    async def scenario() -> float:
        began = time.process_time()
        await case(broker, messages)
        return (time.process_time() - began) / messages * 1e6

    return asyncio.run(scenario())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    own = parser.parse_args()
    server = socket.create_server(("127.0.0.1", 0))
    other = multiprocessing.get_context("fork").Process(target=serve, args=(server,), daemon=True)
    other.start()
    broker = Broker("127.0.0.1", server.getsockname()[1])
    made(message), made(ack)  # before anything is measured
    found: dict[str, list[float]] = {}
    for _ in range(own.rounds):
        for name, cases in CASES.items():
            for kind, case in zip(("ours", "floor"), cases, strict=True):
                found.setdefault(f"{name}_{kind}", []).append(round(microseconds(case, broker, own.messages), 2))
    other.terminate()
    report = {name: {"best": min(values), "rounds": values} for name, values in found.items()}
    print(json.dumps({"microseconds_of_cpu_a_message": report, "messages": own.messages}, indent=1))


if __name__ == "__main__":
    main()
