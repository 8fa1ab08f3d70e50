"""Abandoned spools: each is emptied beside our own, under its own name and numbers."""

import asyncio
from contextlib import suppress
from pathlib import Path

from gateway.delivery import housekeeping, spool_folder
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox
from gateway.delivery.receipts import Receipts
from gateway.delivery.replay import Replay
from gateway.delivery.spool import SpoolError
from gateway.delivery.spool_folder import Abandoned
from gateway.delivery.spool_gauges import SpoolGauges
from gateway.settings import Settings
from nexus import mqtt
from nexus.process import log, supervisor
from nexus.process.run import run_until, task_group

ADOPT_SECONDS = 30.0  # time for a restarted gateway to find its own spool
AGAIN_SECONDS = 300.0
_LOOK_SECONDS = 1.0


class Adopted:
    """A spool that another gateway abandoned; it keeps its name and numbers, so that nothing is stored twice."""

    def __init__(self, spool: Abandoned, own: Settings, control: ControlTopics) -> None:
        self.outbox = Outbox(spool.spool, 1, own.wanted)
        self.receipts = Receipts(own.ingestion_group, self.outbox, control)
        self._gauges = SpoolGauges(spool.spool)
        self.blocked = BlockedTopics()
        self.in_flight = InFlight(self.outbox, self.blocked)
        self._control = control

    async def drain(self, connection: mqtt.Connection) -> None:
        """Sends what is in it, for as long as the connection lasts."""
        self.in_flight.requeue_all()
        self.blocked.connected(asyncio.get_running_loop().time())
        await self.receipts.join(connection)
        await Replay(
            self.outbox, self.in_flight, self._gauges, connection, blocked=self.blocked, control=self._control
        ).run()


class Adoption:
    """Finds spools that no process has, and empties them over one connection after the other."""

    def __init__(self, own: Settings, control: ControlTopics) -> None:
        self._own, self._control = own, control
        self._spools: list[Adopted] = []
        self._said: set[Path] = set()
        self._connection: mqtt.Connection | None = None
        self._joined, self._parted = asyncio.Event(), asyncio.Event()

    @property
    def denied(self) -> list[str]:
        """Topics that the broker denies."""
        return [topic for one in self._spools for topic in one.blocked.denied]

    def connected(self, connection: mqtt.Connection) -> None:
        """Called on each connection."""
        self._connection = connection
        self._parted.clear()
        self._joined.set()

    def lost(self, reason: str | None) -> None:
        """The connection is lost. If the broker ended it over a topic, it may be one of these."""
        self._connection = None
        self._joined.clear()
        self._parted.set()
        if mqtt.blames_a_message(reason):
            for one in self._spools:
                under_way = [batch.topic for batch in one.in_flight.batches]
                one.blocked.suspect(under_way, asyncio.get_running_loop().time())

    def handle(self, name: str, payload: bytes) -> bool:
        """Handles a receipt, or an offer of receipts; tells whether it was one."""
        taken = [one.receipts.handle(name, payload) for one in self._spools]  # an offer is for all
        return any(taken)

    async def run(self, folder: Path) -> None:
        """Looks for abandoned spools again and again, until it is cancelled."""
        async with task_group() as group:
            while True:
                free = spool_folder.free(folder, self._cannot)
                await asyncio.sleep(ADOPT_SECONDS)
                for file in free:
                    if left := spool_folder.abandoned(file, self._own.spool_bytes, self._own.spool_age):
                        supervisor.start(group, "file", self._empty(file, left), name="adopted-spool")
                await asyncio.sleep(AGAIN_SECONDS)

    def _cannot(self, file: Path, error: Exception) -> None:
        """Logs once why a spool stays."""
        if file not in self._said:
            self._said.add(file)
            log.get("spool").error("an abandoned spool cannot be emptied", file=str(file), reason=str(error))

    async def _empty(self, file: Path, left: Abandoned) -> None:
        is_empty, one = False, Adopted(left, self._own, self._control)
        try:
            await one.outbox.open()
            log.get("spool").info("emptying an abandoned spool", messages=one.outbox.stored)
            self._spools.append(one)
            await self._emptied(one)
            is_empty = not one.outbox.stored
        except SpoolError as error:
            self._cannot(file, error)
        finally:
            if one in self._spools:
                self._spools.remove(one)
            left.close(remove=is_empty)

    async def _emptied(self, one: Adopted) -> None:
        """Everything that uses the spool ends before it is closed."""
        async with task_group() as group:
            tasks = [
                supervisor.part(group, housekeeping.store(one.outbox), name="adopted-spool-store"),
                supervisor.part(group, housekeeping.expire(one.outbox), name="adopted-spool-age"),
                supervisor.keep(group, "file", lambda: self._drain(one), name="adopted-replay"),
            ]
            while one.outbox.stored:
                await one.outbox.changed(_LOOK_SECONDS)
            for task in tasks:
                task.cancel()

    async def _drain(self, one: Adopted) -> None:
        """Over one connection after the other. A fault here ends no connection, which is for our own readings."""
        while True:
            await self._joined.wait()
            if (connection := self._connection) is not None:
                with suppress(mqtt.MqttError):
                    await run_until(self._parted, one.drain(connection))
            await asyncio.sleep(_LOOK_SECONDS)
