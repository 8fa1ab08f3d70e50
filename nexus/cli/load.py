"""`nexus load`: a simulated plant that publishes at any rate, to try what a site can take; `nexus verify` counts it."""

import asyncio
import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from time import time
from typing import Literal, NamedTuple

from gateway.delivery import spool_folder
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.delivery.outbox import Outbox
from gateway.delivery.publish_options import PublishOptions
from gateway.delivery.publisher import Publisher
from gateway.settings import Settings
from nexus import mqtt
from nexus.contract.reading import Reading
from nexus.mqtt import Broker, Client, stay_connected
from nexus.process import log, settings, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import run_until, task_group

TICK_SECONDS = 0.01
CONNECT_SECONDS = 10.0
_SPOOL_BYTES = 4_000_000_000


@dataclass
class Load:
    """What is sent, and how far it is: each scan of device d gives all of its tags the same counter, from 1 on.

    `rate` in points a second, 0 for as many as possible; `scans` by device; `began` in epoch seconds, took `seconds`.
    """

    path: str
    publish: Literal["tag", "device"]
    devices: int
    tags: int
    rate: float
    scans: list[int] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0
    unconfirmed: int = 0
    dropped: int = 0  # points that its own disk was too slow for, or refused
    ended: bool = False

    @property
    def points(self) -> int:
        return sum(self.scans) * self.tags

    def device(self, number: int) -> str:
        return f"{self.path}/d{number:04}"

    def tag(self, number: int) -> str:
        return f"t{number:03}"

    def write(self, file: Path) -> None:
        """Notes it down, for `nexus verify`; whole or not at all."""
        new = file.with_name(file.name + ".new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(file)

    @classmethod
    def read(cls, file: Path) -> "Load":
        return cls(**json.loads(file.read_text(encoding="utf-8")))


class Limits(NamedTuple):
    """When to stop: after so many seconds, or points; `wait` seconds for what is not confirmed then."""

    seconds: float | None
    points: int | None
    wait: float


def planned(publish: Literal["tag", "device"], devices: int, tags: int, rate: float, path: str | None) -> Load:
    """A load on a path of its own, so that two runs are told apart."""
    return Load(path or f"load/{secrets.token_hex(3)}", publish, devices, tags, rate, [0] * devices)


async def send(stop: asyncio.Event, load: Load, limits: Limits, out: Path) -> None:
    """Sends until `stop` or the limits; then waits for what is not confirmed.

    With NEXUS_RECEIPTS confirmed means committed, and what the broker loses is sent again; without, acknowledged.
    """
    process, own = settings.load(settings.Process), settings.load(Settings)
    broker = mqtt.settings.load(process.environment)
    load.write(out)
    async with _sending(own, broker) as (publisher, outbox):
        clock = asyncio.get_running_loop().time
        load.began, began = time(), clock()
        load.write(out)
        try:
            await run_until(stop, _pace(load, publisher, outbox, limits, own.queue_readings // 2))
            load.seconds = clock() - began
            publisher.finish()
            await run_until(stop, _settled(outbox, limits.wait))
        finally:
            load.unconfirmed = outbox.unsettled
            load.dropped = sum(sum(drop.hours.values()) for drop in outbox.spool.drops.take())
            load.ended = True
            load.write(out)


@asynccontextmanager
async def _sending(own: Settings, broker: Broker) -> AsyncIterator[tuple[Publisher, Outbox]]:
    """The gateway's own way to the broker: publisher, spool and receipts."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-load-"))
        disk = await stack.enter_async_context(spool_folder.claimed(Path(folder), _SPOOL_BYTES, own.spool_age))
        group = await stack.enter_async_context(task_group())
        delivery = Delivery(own, disk, ControlTopics(), lambda _: True)
        publisher, outbox = delivery.publisher, delivery.outbox

        async def serve(connection: mqtt.Connection) -> None:
            await delivery.serve(connection)
            await delivery.settling(connection)

        def receive(connection: mqtt.Connection, message: mqtt.Message) -> None:
            connection.acknowledge(message.packet_id)
            delivery.handle(message.topic, message.payload)

        client = Client(f"load-{secrets.token_hex(4)}")
        tasks = [
            supervisor.part(group, stay_connected(broker, client, serve, receive), name="publisher"),
            *delivery.start(group),
        ]
        await delivery.opened()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await publisher.has_room()
        except TimeoutError:
            log.get("load").warning("no connection yet: what is sent waits on the disk")
        yield publisher, outbox
        for task in tasks:
            task.cancel()


async def _pace(load: Load, publisher: Publisher, outbox: Outbox, limits: Limits, room: int) -> None:
    """Scans of one device after the other, evenly; late ones are made up for.

    While `room` points wait for the disk, it waits too: what overflows the memory would be dropped.
    """
    outlets = [PublishOptions(load.device(number), load.publish, {}) for number in range(load.devices)]
    tags = [load.tag(number) for number in range(load.tags)]
    times = [0] * load.devices
    clock = asyncio.get_running_loop().time
    began, sent = clock(), 0
    until = began + limits.seconds if limits.seconds is not None else inf
    most = limits.points / load.tags if limits.points is not None else inf
    while clock() < until and sent < most:
        if load.rate:
            allowed = int((clock() - began) * load.rate / load.tags) + 1 - sent
            if allowed <= 0:
                await asyncio.sleep(TICK_SECONDS)
                continue
        else:
            await publisher.has_room()
            allowed = 10
        space = (room - outbox.waiting) // load.tags
        if space <= 0 and outbox.waiting:
            await outbox.changed(TICK_SECONDS)
            continue
        for _ in range(int(min(allowed, max(1, space), most - sent + 1))):
            device = sent % load.devices
            load.scans[device] += 1
            counter = float(load.scans[device])
            now = times[device] = max(now_ms(), times[device] + 1)
            publisher.scan(outlets[device], [Reading(tag, now, counter) for tag in tags])
            sent += 1
        await asyncio.sleep(0)


async def _settled(outbox: Outbox, seconds: float) -> None:
    """Waits until everything has arrived; at most so long."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while outbox.unsettled and clock() < until:
        await outbox.changed(0.1)
