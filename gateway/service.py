"""The gateway as a whole: who polls what, one connection to the broker, a spool, and an orderly end."""

import asyncio
import gc
import socket
from pathlib import Path
from time import time

from gateway import device_files, metrics, spool_folder
from gateway.api import Board
from gateway.command import Commands
from gateway.config import Configured
from gateway.delivery import Delivery
from gateway.fleet import Fleet
from gateway.reload import Watch
from gateway.request import ROOT as COMMANDS
from gateway.settings import Settings
from gateway.sharing import Sharing
from gateway.spool import SpoolError
from nexus.contract.codec import Status
from nexus.contract.reading import Reading
from nexus.runtime import cleartext, guard, http, log, mqtt, probe, settings
from nexus.runtime.broker import Broker, Client, Will
from nexus.runtime.reconnect import stay_connected
from nexus.runtime.run import together

FIRST_DEVICE_SECONDS = 15.0  # a gateway that polls none, because others do, is ready after this
DRAIN_SECONDS = 5.0  # what waits for the broker has this long at a stop; then it goes to the disk


async def serve(stop: asyncio.Event, devices: Path) -> None:
    """Runs until `stop` is set. Raises ConfigError before anything is polled."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    broker = settings.broker(settings.load(settings.Mqtt), process.environment)
    cleartext.warn(broker)
    watch = Watch(devices, own.device_prefix, device_files.place(own.spool_dir, devices))
    configured = await asyncio.to_thread(watch.start)
    metrics.devices.set(len(configured))
    loop = asyncio.get_running_loop()
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    board = Board(configured)
    async with spool_folder.claimed(own.spool_dir, own.spool_bytes, own.spool_age) as disk, together() as group:
        member = own.member or broker.user or socket.gethostname()
        member += f"-{disk.number}" if disk.number else ""
        delivery = Delivery(own, disk)
        gateway = _Gateway(own, member, board, delivery, group)
        gateway.sharing.reload(configured)

        def on_change(changed: tuple[Configured, ...]) -> None:
            metrics.devices.set(len(changed))
            board.reload(changed)
            gateway.sharing.reload(changed)

        async with (
            probe.serve(
                process,
                metrics.registry,
                lambda: gateway.waiting_for(broker),
                problems=lambda: [*watch.problems(), *board.problems()],
            ),
            http.site(board.app(), process, own.api_host, own.api_port, "NEXUS_API_PORT"),
        ):
            storing = delivery.start(group)
            await delivery.opened()
            tags = sum(len(one.device.tags) for one in configured)
            gc.freeze()  # what is here now stays: the collector need not look at it again
            log.get("gateway").info("started", devices=len(configured), tags=tags)
            polling = [
                guard.keep(group, "timer", gateway.sharing.run, name="sharing"),
                guard.keep(group, "file", lambda: watch.run(on_change), name="reload"),
                guard.start(group, "file", delivery.adopt(own.spool_dir, group), name="adopt"),
            ]
            publishing = guard.keep(group, "peer", lambda: gateway.publish(broker), name="publisher")
            await stop.wait()
            await _ended(polling)
            await gateway.end(publishing)
            await _ended(storing)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class _Gateway:
    """The parts, put together."""

    def __init__(self, own: Settings, member: str, board: Board, delivery: Delivery, group: asyncio.TaskGroup) -> None:
        self._client_id = f"{own.group}-{member}"
        self._group = group
        self._delivery = delivery
        self._board = board
        self._publisher = delivery.publisher
        self._fleet = Fleet(group, self._on_scan, self._on_status, self._on_release)
        alone = not own.is_one_of_several
        self.sharing = Sharing(own.group, member, own.lease, self._fleet, alone=alone)
        self._commands = Commands(group, self._fleet.poller, self.sharing.speaks_for, self._publisher.record)
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
        will = Will(self.sharing.topic, self.sharing.will)
        client = Client(self._client_id, will=will)
        await stay_connected(broker, client, self._serve, self._on_message)

    async def end(self, publishing: asyncio.Task[None]) -> None:
        """No more polling; what was read goes to the broker if it takes it in time, else to the disk."""
        await self._commands.stop()
        await self._fleet.stop()
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
            await self.sharing.join(connection)
            await connection.subscribe(f"{COMMANDS}#", only_new=True)
            await self._delivery.serve(connection)
            await self.sharing.leave(connection)
        finally:
            self._connected = False
            metrics.connected.set(0)
            self.sharing.lost()

    def _on_message(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.mid)
        guard.call("message", self._take, connection, message)

    def _take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard = self._delivery.heard(message.topic, message.payload)
        if not heard and not self.sharing.heard(message.topic, message.payload):
            self._commands.take(connection, message)

    def _on_scan(self, one: Configured, readings: list[Reading]) -> None:
        self._publisher.scan(one.outlet, readings)
        self._board.scan(one, readings)

    def _on_status(self, path: str, status: Status) -> None:
        self._publisher.status(path, status)
        self._board.status(path, status)

    def _on_release(self, one: Configured) -> None:
        path = one.device.path
        self._board.forget(path)
        if self.sharing.has(path):
            self._publisher.forget(path)  # another gateway says how it is
        else:
            gone = Status("offline", "no longer in the device files", int(time() * 1000))
            self._publisher.status(path, gone)
