"""The gateway as a whole: who polls what, one connection to the broker, a spool, and an orderly end."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import time

from gateway import descriptors, device_files, metrics, spool_folder
from gateway.api import Board
from gateway.cluster import leases
from gateway.cluster.memory import Memory
from gateway.cluster.sharing import Sharing
from gateway.command import Commands
from gateway.config import Configured
from gateway.delivery import Delivery
from gateway.fleet import Fleet
from gateway.reload import Watch
from gateway.request import ROOT as COMMANDS
from gateway.settings import Settings
from gateway.spool import SpoolError
from gateway.subscribing import subscribe
from gateway.words import Words
from nexus import mqtt
from nexus.contract.codec import Status
from nexus.contract.reading import Reading
from nexus.mqtt import Broker, Client, Will, stay_connected
from nexus.runtime import cleartext, guard, http, log, probe, settings
from nexus.runtime.run import together

FIRST_DEVICE_SECONDS = 15.0  # a gateway that polls none, because others do, is ready after this
LONGEST_PAUSE = 3.0  # before connecting again: shorter than the lease, after which others take over
DRAIN_SECONDS = 5.0  # what waits for the broker has this long at a stop; then it goes to the disk


async def serve(stop: asyncio.Event, devices: Path) -> None:
    """Runs until `stop` is set. Raises ConfigError before anything is polled."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    broker = mqtt.settings.load(process.environment)
    cleartext.warn(str(broker))
    watch = Watch(devices, own.device_prefix, device_files.place(own.spool_dir, devices))
    configured = await asyncio.to_thread(watch.start)
    metrics.devices.set(len(configured))
    descriptors.warn(len(configured))
    loop = asyncio.get_running_loop()
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    board, words = Board(configured), Words()
    async with (
        spool_folder.claimed(own.spool_dir, own.spool_bytes, own.spool_age) as disk,
        _sharing(own, broker.user, disk.number, words) as sharing,
        together() as group,
    ):
        delivery = Delivery(own, disk, words, sharing.may_state)
        gateway = _Gateway(sharing, board, delivery, words, group)
        sharing.reload(configured)

        def on_change(changed: tuple[Configured, ...]) -> None:
            metrics.devices.set(len(changed))
            descriptors.warn(len(changed))
            board.reload(changed)
            sharing.reload(changed)

        async with (
            probe.serve(
                process,
                metrics.registry,
                lambda: gateway.waiting_for(broker),
                problems=lambda: [*watch.problems(), *board.problems(), *sharing.problems(), *delivery.problems()],
            ),
            http.site(board.app(), process, own.api_host, own.api_port, "NEXUS_API_PORT"),
        ):
            storing = delivery.start(group)
            await delivery.opened()
            tags = sum(len(one.device.tags) for one in configured)
            gc.freeze()  # what is here now stays: the collector need not look at it again
            log.get("gateway").info("started", devices=len(configured), tags=tags)
            polling = [
                guard.keep(group, "timer", lambda: sharing.run(gateway.fleet), name="sharing"),
                guard.keep(group, "file", lambda: watch.run(on_change), name="reload"),
                guard.start(group, "file", delivery.adopt(own.spool_dir), name="adopt"),
            ]
            beating = [
                guard.keep(group, "timer", sharing.beat, name="presence"),
                guard.keep(group, "peer", sharing.witness, name="lease"),
            ]
            publishing = guard.keep(group, "peer", lambda: gateway.publish(broker), name="publisher")
            await stop.wait()
            await _ended(polling)
            await gateway.stop()
            await _ended(beating)
            await sharing.close()
            await gateway.end(publishing)
            await _ended(storing)


@asynccontextmanager
async def _sharing(own: Settings, user: str | None, number: int, words: Words) -> AsyncIterator[Sharing]:
    """Our part in the group. A user's gateways are named below it: that is where the broker's rules let them speak."""
    name = (own.member or user or socket.gethostname()) + (f"-{number}" if number else "")
    member = name if user in (None, name) else f"{user}/{name}"
    async with AsyncExitStack() as stack:
        witness = None
        if own.leases == "kubernetes" or (own.leases == "auto" and leases.is_there(own.service_account)):
            witness = await stack.enter_async_context(leases.connected(own.service_account, own.group))
        yield Sharing(
            own.group,
            member,
            own.lease,
            words,
            alone=not own.is_one_of_several,
            away=own.broker_away or ("poll" if witness is None else "yield"),
            leases=witness,
            memory=Memory(own.spool_dir / f"member-{number}"),
        )


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class _Gateway:
    """The parts, put together."""

    def __init__(
        self, sharing: Sharing, board: Board, delivery: Delivery, words: Words, group: asyncio.TaskGroup
    ) -> None:
        self._sharing = sharing
        self._words = words
        self._group = group
        self._delivery = delivery
        self._board = board
        self._publisher, self._states = delivery.publisher, delivery.states
        self.fleet = Fleet(group, self._on_scan, self._on_status, self._on_release, sharing.may_poll)
        self._commands = Commands(group, self.fleet.poller, sharing.speaks_for, self._publisher.record)
        self._connected = False
        self._ready_at = asyncio.get_running_loop().time() + FIRST_DEVICE_SECONDS

    def waiting_for(self, broker: Broker) -> list[str]:
        """What keeps us from being ready."""
        waiting = [] if self._connected else [f"the broker, {broker}"]
        waiting += self._delivery.waiting_for()
        if not self._board.has_heard and asyncio.get_running_loop().time() < self._ready_at:
            waiting.append("the first device to answer, or not to")
        return waiting

    async def publish(self, broker: Broker) -> None:
        """One connection after the other, until `end`."""
        will = Will(self._sharing.topic, self._sharing.will)
        client = Client(self._sharing.client_id, will=will)
        await stay_connected(broker, client, self._serve, self._on_message, longest_pause=LONGEST_PAUSE)

    async def stop(self) -> None:
        """No more writes, and no more polling."""
        await self._commands.stop()
        await self.fleet.stop()

    async def end(self, publishing: asyncio.Task[None]) -> None:
        """What was read goes to the broker if it takes it in time, else to the disk."""
        self._publisher.finish()
        await asyncio.wait({publishing}, timeout=DRAIN_SECONDS if self._connected else 0)
        await _ended([publishing])
        try:
            await self._delivery.backlog.flush()
        except SpoolError as error:
            lost = self._delivery.backlog.waiting
            log.get("gateway").error("readings are lost: the spool takes nothing", readings=lost, reason=str(error))

    async def _serve(self, connection: mqtt.Connection) -> None:
        self._connected = True
        metrics.connected.set(1)
        try:
            await self._sharing.join(connection)
            await subscribe(self._words, connection, f"{COMMANDS}#", only_new=True)
            await self._delivery.serve(connection)
            await self._sharing.leave(connection)
        finally:
            self._connected = False
            metrics.connected.set(0)
            self._sharing.lost()

    def _on_message(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.packet_id)
        guard.call("message", self._take, connection, message)

    def _take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard = self._delivery.heard(message.topic, message.payload)
        if not heard and not self._sharing.heard(message):
            self._commands.take(connection, message)

    def _on_scan(self, one: Configured, readings: list[Reading]) -> None:
        self._publisher.scan(one.outlet, readings)
        self._board.scan(one, readings)

    def _on_status(self, path: str, status: Status) -> None:
        self._states.say(path, status)
        self._board.status(path, status)

    def _on_release(self, one: Configured) -> None:
        path = one.device.path
        self._board.forget(path)
        self._delivery.released(path)
        if self._sharing.has(path):
            self._states.forget(path)  # another gateway says how it is
        else:
            gone = Status("offline", "no longer in the device files", int(time() * 1000))
            self._states.end(path, gone)
