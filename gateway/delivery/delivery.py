"""The way out of the gateway: publisher, spool, replay, receipts, and the adoption of abandoned spools."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path

from gateway import metrics
from gateway.delivery import housekeeping
from gateway.delivery.adoption import Adoption
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.device_states import DeviceStates
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox
from gateway.delivery.publisher import Publisher
from gateway.delivery.receipts import Receipts
from gateway.delivery.replay import Replay
from gateway.delivery.spool import Spool, SpoolError
from gateway.delivery.spool_file import wall_clock
from gateway.delivery.spool_gauges import SpoolGauges
from gateway.settings import Settings
from nexus import mqtt
from nexus.contract import topic
from nexus.process import log, supervisor
from nexus.process.run import task_group

MOST_NAMED = 5  # topics of one kind that /health names
OPEN_SECONDS = 10.0  # polling does not wait any longer for the spool to open
FLUSH_SECONDS = 1.2  # at the end of a stop
CLOCK_SECONDS = 60.0  # a clock that was set back by less is not a problem


class Delivery:
    """Takes readings, and delivers them over one connection after the other."""

    def __init__(self, own: Settings, spool: Spool, control: ControlTopics, may_state: Callable[[str], bool]) -> None:
        self._own, self._control, self._spool = own, control, spool
        self.blocked = BlockedTopics()
        self.outbox = Outbox(spool, own.queue_readings, own.wanted)
        self._in_flight = InFlight(self.outbox, self.blocked)
        self.publisher = Publisher(self.outbox, self._in_flight, self.blocked, control)
        self.states = DeviceStates(control, self.blocked, may_state)
        self._receipts = Receipts(own.ingestion_group, self.outbox, control)
        self._adoption = Adoption(own, control)
        self.gauges = SpoolGauges(spool)
        self.gauges.show()
        metrics.spool_waiting.set_function(lambda: self.outbox.waiting)
        metrics.denied.set_function(lambda: len(self.blocked.denied) + len(self._adoption.denied))
        metrics.words_denied.set_function(lambda: len(control.denied))

    def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Starts the tasks that keep the disk up to date; they open the spool first."""
        return [
            supervisor.keep(group, "timer", lambda: housekeeping.store(self.outbox), name="spool"),
            supervisor.keep(group, "timer", lambda: housekeeping.expire(self.outbox, self.gauges), name="spool-age"),
        ]

    async def opened(self) -> None:
        """Waits until the spool is open, or could not be opened for now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                await self.outbox.tried.wait()

    def waiting_for(self) -> list[str]:
        """What keeps readings from leaving, apart from the connection."""
        silent = self._in_flight.silent_for
        missing = [] if silent is None else [f"the broker's acknowledgements, for {silent:.0f} s"]
        if self.outbox.failing is not None:
            missing.append(f"the spool: {self.outbox.failing}")
        return missing

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        found = []
        if (behind := self.outbox.ahead(wall_clock())) >= CLOCK_SECONDS:
            ago = timedelta(seconds=round(behind))
            remedy = "correct it; if it was ahead before, restart once the spool is empty"
            found.append(f"the clock is {ago} behind the newest time in the spool, so times are wrong: {remedy}")
        if self.outbox.failing is not None:
            found.append(f"the spool takes nothing, and readings wait in memory: {self.outbox.failing}")
        if unsaved := self._spool.unsaved:
            remedy = "free disk space, or let the gateway's user read and rename it, then restart"
            found.append(f"the damaged spool {unsaved[0]} is not saved yet (the log says why): {remedy}")
        rules = "allow the gateway's user in the broker's ACL"
        if denied := [*self.blocked.denied, *self._adoption.denied]:
            found.append(f"the broker denies {_named(denied)}, and the readings wait: {rules}")
        if self._control.denied:
            found.append(f"the broker refuses {_named(self._control.denied)}: {rules}")
        return found

    async def serve(self, connection: mqtt.Connection) -> None:
        """Sends until the publisher has finished, or the connection is lost."""
        self._in_flight.connected()
        self.blocked.connected(asyncio.get_running_loop().time())
        await self._receipts.join(connection)
        async with task_group(mqtt.MqttError) as group:
            parts = [
                supervisor.part(group, self._replay(connection).run(), name="replay"),
                supervisor.part(group, self._receipts.follow(connection), name="receipts"),
                supervisor.part(group, self.states.run(connection), name="states"),
            ]
            self._adoption.connected(connection)
            try:
                await self.publisher.serve(connection)
            finally:
                self._adoption.lost(connection.lost)
            for part in parts:
                part.cancel()
            await self.states.leave(connection)

    async def settling(self, connection: mqtt.Connection) -> None:
        """Keeps sending what is unconfirmed after the publisher has finished, until the connection is lost."""
        await self._replay(connection).run()

    def _replay(self, connection: mqtt.Connection) -> Replay:
        return Replay(
            self.outbox, self._in_flight, self.gauges, connection, blocked=self.blocked, control=self._control
        )

    async def end(self) -> None:
        """Writes to disk what only memory has; what it does not take in time is lost, and counted."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.outbox.flush()
        except (SpoolError, TimeoutError) as error:
            if lost := self.outbox.lose():
                reason = str(error) or self.outbox.failing or f"the disk did not answer within {FLUSH_SECONDS:g} s"
                log.get("gateway").error("readings are lost: the spool takes nothing", readings=lost, reason=reason)

    def handle(self, name: str, payload: bytes) -> bool:
        """Handles a receipt, or an ingester's offer of receipts; tells whether it was one."""
        heard = self._receipts.handle(name, payload)
        return self._adoption.handle(name, payload) or heard

    def released(self, path: str) -> None:
        """A device is not polled here any more."""
        self.blocked.release(topic.device(path), asyncio.get_running_loop().time())

    async def adopt(self, folder: Path) -> None:
        """Empties abandoned spools; returns when there are none, or when it is cancelled."""
        await self._adoption.run(folder)


def _named(topics: Collection[str]) -> str:
    """Some topics by name, and how many more; without our receipt topic, which is a secret."""
    shown = ["receipt/…" if name.startswith("receipt/") else name for name in islice(topics, MOST_NAMED)]
    more = f" and {len(topics) - MOST_NAMED} more" if len(topics) > MOST_NAMED else ""
    return ", ".join(shown) + more
