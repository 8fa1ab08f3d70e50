"""The gateway as a whole: polling, one connection to the broker, a spool, and an orderly stop."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway import metrics
from gateway.alarms.alarms import Alarms
from gateway.alarms.requests import AlarmRequests
from gateway.announcements import Announcements
from gateway.cluster import member
from gateway.cluster.coordinator import GroupCoordinator
from gateway.commands.command import Commands
from gateway.config import device_files
from gateway.config.devices import ConfiguredDevice
from gateway.config.watcher import ConfigWatcher
from gateway.delivery import spool_folder
from gateway.delivery.completeness import Completeness
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.delivery import Delivery
from gateway.delivery.spool import SpoolError
from gateway.derived.kept_totals import KeptTotals
from gateway.derived.shared_totals import SharedTotals
from gateway.files.requests import FileRequests
from gateway.http import DeviceCache
from gateway.inbox import Inbox
from gateway.polling import descriptors
from gateway.polling.intake import Intake
from gateway.polling.poller_manager import PollerManager
from gateway.polling.slots import Slots
from gateway.settings import Settings
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.reading import Reading
from nexus.contract.status import Status
from nexus.mqtt import Broker, Client, Will, stay_connected
from nexus.process import cleartext, http, log, names, probe, settings, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group

FIRST_DEVICE_SECONDS = 15.0  # a gateway without devices of its own, because others poll them, is ready after this
LONGEST_PAUSE = 3.0  # before connecting again: shorter than the lease, after which others take over
# Less than the process has for a stop, see nexus.process.run; each step of it has what is left, or less.
STOP_SECONDS = 5.5
LET_GO_SECONDS = 3.5  # for drivers to disconnect
LEASE_SECONDS = 2.0  # for the API server to take our last announcement
DRAIN_SECONDS = 5.0  # for the broker to take what waits; after that it stays on disk
_CANCEL_SECONDS = 1.0


async def serve(stop: asyncio.Event, devices: Path) -> None:
    """Runs until `stop` is set. Raises ConfigError before anything is polled."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    broker = mqtt.settings.load(process.environment)
    names.warn(os.environ)
    cleartext.warn(str(broker))
    watch = ConfigWatcher(devices, own.device_prefix, device_files.place(own.spool_dir, devices))
    configured = await asyncio.to_thread(watch.start)
    loop = asyncio.get_running_loop()
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    control = ControlTopics()
    async with (
        spool_folder.claimed(own.spool_dir, own.spool_bytes, own.spool_age) as disk,
        member.joined(own, broker.user, disk.number, control) as coordinator,
        task_group() as group,
    ):
        delivery = Delivery(own, disk, control, coordinator.may_state)
        files_topic = topic.files(own.group, coordinator.member)
        asked = FileRequests(files_topic, devices, own.device_prefix, watch, lambda: coordinator.members == 1)
        gateway = _Gateway(
            own, broker, group, coordinator=coordinator, watch=watch, files=asked, delivery=delivery, control=control
        )
        gateway.reload(configured)
        async with gateway.pages(process):
            await gateway.start()
            tags = sum(len(one.tag_names) for one in configured)
            if not stop.is_set():
                log.get("gateway").info("started", devices=len(configured), tags=tags)
            try:
                await stop.wait()
            finally:
                await gateway.stop()


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)


class _Gateway:
    """The parts of the gateway, wired together."""

    def __init__(
        self,
        own: Settings,
        broker: Broker,
        group: asyncio.TaskGroup,
        *,
        coordinator: GroupCoordinator,
        watch: ConfigWatcher,
        files: FileRequests,
        delivery: Delivery,
        control: ControlTopics,
    ) -> None:
        self._own, self._broker, self._group = own, broker, group
        self._coordinator, self._watch = coordinator, watch
        self._delivery, self._publisher, self._states = delivery, delivery.publisher, delivery.states
        self._cache = DeviceCache(())
        self._announcements = Announcements(own.group, coordinator, watch, files, delivery, control=control)
        record = self._publisher.record
        self._completeness = Completeness(coordinator.member, own.counts_interval, delivery.outbox, record)
        self._alarms = Alarms(own, delivery, control, coordinator, group)
        kept = KeptTotals(own.spool_dir, delivery.outbox.spool.number)
        self._totals = SharedTotals(own.group, coordinator.member, kept, control)
        self._pollers = PollerManager(
            group,
            self._intake,
            self._on_status,
            coordinator.may_poll,
            Slots(own.scan_slot),
            on_start=self._announcements.start,
            on_release=self._on_release,
        )
        self._commands = Commands(group, self._pollers.poller, coordinator.speaks_for, record)
        asked = AlarmRequests(self._alarms, group, coordinator.speaks_for, record)
        self._inbox = Inbox(self._commands, asked, files, control, group)
        self._connected = False
        self._away = "not connected yet"
        self._has_let_go = False
        self._clock = asyncio.get_running_loop().time
        self._ready_at = self._clock() + FIRST_DEVICE_SECONDS

    def reload(self, configured: tuple[ConfiguredDevice, ...]) -> None:
        """Applies changed device files."""
        metrics.devices.set(len(configured))
        descriptors.warn(len(configured))
        self._cache.reload(configured)
        self._coordinator.reload(configured)

    @asynccontextmanager
    async def pages(self, process: settings.Process) -> AsyncIterator[None]:
        """Health, metrics and API, while entered."""
        own, cache = self._own, self._cache
        async with (
            probe.serve(process, metrics.registry, self._waiting_for, problems=self._problems),
            http.site(cache.app(), process, own.api_host, own.api_port, "NEXUS_API_PORT"),
        ):
            yield

    async def start(self) -> None:
        """Opens the spool, polls and publishes."""
        group, coordinator = self._group, self._coordinator
        self._storing = self._delivery.start(group)
        await self._delivery.opened()
        await self._alarms.open()
        gc.freeze()  # everything allocated so far stays: the garbage collector need not visit it again
        self._polling = [
            supervisor.keep(group, "timer", lambda: coordinator.run(self._pollers), name="coordinator"),
            supervisor.keep(group, "timer", self._completeness.run, name="completeness"),
            supervisor.keep(group, "timer", self._totals.kept.run, name="totals"),
            supervisor.keep(group, "timer", self._alarms.messages.run, name="alarms"),
            supervisor.keep(group, "file", lambda: self._watch.run(self.reload), name="reload"),
            supervisor.keep(group, "file", lambda: self._delivery.adopt(self._own.spool_dir), name="adopt"),
        ]
        self._beating = [
            supervisor.keep(group, "timer", coordinator.beat, name="presence"),
            supervisor.keep(group, "peer", coordinator.witness, name="lease"),
        ]
        self._publishing = supervisor.keep(group, "peer", self._publish, name="publisher")

    async def stop(self) -> None:
        """Stops in order, within STOP_SECONDS. Readings are written to disk before the broker is waited for."""
        until = self._clock() + STOP_SECONDS
        try:
            await _ended(*self._polling)
            await self._commands.stop()
            self._has_let_go = await self._pollers.stop(LET_GO_SECONDS)
            self._completeness.flush()
            await self._alarms.messages.flush()
            self._publisher.finish()
            await self._totals.kept.flush()
            with suppress(SpoolError, TimeoutError):  # `_end` handles what could not be stored
                async with asyncio.timeout_at(until - LEASE_SECONDS):
                    await self._delivery.outbox.flush()
            await _ended(*self._beating)
            if self._has_let_go:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(LEASE_SECONDS, until - self._clock())):
                        await self._coordinator.close()
            left = min(DRAIN_SECONDS, until - self._clock()) if self._connected else 0
            await asyncio.wait({self._publishing}, timeout=max(0, left))
        finally:
            await self._end()

    async def _end(self) -> None:
        await _ended(self._publishing)
        await self._delivery.end()
        self._alarms.messages.records.close()
        await _ended(*self._storing)

    def _waiting_for(self) -> list[str]:
        """What keeps us from being ready."""
        waiting = [] if self._connected else [f"the broker, {self._broker}: {self._away}"]
        waiting += self._delivery.waiting_for()
        if not self._cache.has_statuses and self._clock() < self._ready_at:
            waiting.append("the first device to answer or fail")
        return waiting

    async def _publish(self) -> None:
        """One connection after the other, until the publisher has finished."""
        will = Will(self._coordinator.topic, self._coordinator.will)
        client = Client(self._coordinator.client_id, will=will)
        await stay_connected(
            self._broker, client, self._serve, self._on_message, longest_pause=LONGEST_PAUSE, on_away=self._note_away
        )

    def _note_away(self, reason: str) -> None:
        self._away = reason

    def _problems(self) -> list[str]:
        """What needs a person's attention, and is not mended by a restart."""
        parts = (self._watch, self._cache, self._coordinator, self._delivery, self._alarms)
        away = [] if self._connected else [f"the broker, {self._broker}: {self._away}"]
        return [*away, *(text for part in parts for text in part.problems())]

    async def _serve(self, connection: mqtt.Connection) -> None:
        self._away = "not subscribed yet"
        try:
            await self._coordinator.join(connection)
            await self._inbox.join(connection)
            self._connected = True
            metrics.connected.set(1)
            async with task_group(mqtt.MqttError) as group:
                parts = [
                    supervisor.part(group, self._announcements.run(connection), name="announcements"),
                    supervisor.part(group, self._alarms.serve(connection), name="alarms-retained"),
                    supervisor.part(group, self._totals.run(connection), name="totals-retained"),
                ]
                await self._delivery.serve(connection)
                for part in parts:
                    part.cancel()
            await self._totals.leave(connection)
            await self._announcements.leave(connection)
            if self._has_let_go:
                await self._coordinator.leave(connection)
        finally:
            self._connected = False
            metrics.connected.set(0)
            self._coordinator.lost()

    def _on_message(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.packet_id)
        supervisor.call("message", self._take, connection, message)

    def _take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        heard = self._delivery.handle(message.topic, message.payload) or self._totals.handle(message)
        if not (heard or self._coordinator.handle(message) or self._alarms.take_over.handle(message)):
            self._inbox.take(connection, message)

    def _intake(self, one: ConfiguredDevice) -> Intake:
        path = one.device.path
        tally, totals = self._completeness.of(path), self._totals.of(path) if one.derived else None
        return Intake(one, self._on_scan, tally=tally, totals=totals, alarms=self._alarms.of(one))

    def _on_scan(self, one: ConfiguredDevice, readings: list[Reading]) -> None:
        self._publisher.scan(one.publish_options, readings)
        self._cache.scan(one, readings)

    def _on_status(self, path: str, status: Status) -> None:
        self._states.say(path, status)
        self._cache.status(path, status)

    def _on_release(self, one: ConfiguredDevice) -> None:
        path = one.device.path
        self._cache.forget(path)
        self._delivery.released(path)
        self._announcements.release(path)
        self._alarms.release(path)
        self._totals.release(path)
        self._completeness.end(path, ended=not self._coordinator.has(path))
        if self._coordinator.has(path) and self._coordinator.may_poll():
            self._states.hand_over(path)
        elif self._coordinator.has(path):
            self._states.forget(path)  # another gateway may have published its state since
        else:
            gone = Status("offline", "no longer in the device files", now_ms(), "removed")
            self._states.end(path, gone)
