"""The way out, as a whole: publisher, spool, receipts, and the spools of gateways that are no more."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway import keeping, spool_folder
from gateway.aside import Aside
from gateway.backlog import Backlog
from gateway.drain import Drain
from gateway.publisher import Publisher
from gateway.receipts import Receipts
from gateway.settings import Settings
from gateway.spool import Spool, SpoolError
from gateway.spool_folder import Abandoned
from gateway.states import States
from gateway.words import Words
from nexus.runtime import guard, log, mqtt
from nexus.runtime.run import together

OPEN_SECONDS = 10.0  # a spool that takes longer to open is waited for while devices are polled
ADOPT_SECONDS = 30.0  # who is started again has so long to find its own spool
_LOOK_SECONDS = 1.0


@dataclass
class _Adopted:
    """A spool that another gateway left; it keeps its name and numbers, so that nothing is stored twice."""

    backlog: Backlog
    receipts: Receipts
    aside: Aside
    drain: "asyncio.Task[None] | None" = None


class Delivery:
    """What takes readings, and what sends them on one connection after the other."""

    def __init__(self, own: Settings, spool: Spool, words: Words) -> None:
        self._own, self._words = own, words
        self._aside = Aside()
        self.backlog = Backlog(spool, own.queue_readings, own.wanted)
        self.publisher = Publisher(self.backlog, self._aside, words)
        self.states = States(words, self._aside)
        self._receipts = Receipts(own.share, self.backlog, words)
        self._adopted: list[_Adopted] = []

    def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Starts what keeps the disk up to date, and opens the spool first of all."""
        return [
            guard.keep(group, "timer", lambda: keeping.store(self.backlog), name="spool"),
            guard.keep(group, "timer", lambda: keeping.expire(self.backlog), name="spool-age"),
        ]

    async def opened(self) -> None:
        """Waits until the spool is open, or cannot be opened for now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                await self.backlog.tried.wait()

    def waiting_for(self) -> list[str]:
        """What is wrong with the way out, beside the connection."""
        missing = [] if self.publisher.silence is None else [self.publisher.silence]
        if self.backlog.failing is not None:
            missing.append(f"the spool: {self.backlog.failing}")
        return missing

    async def serve(self, connection: mqtt.Connection) -> None:
        """Sends until the publisher has finished, or the connection is lost."""
        self.backlog.connected()
        await self._receipts.join(connection)
        async with together() as group:
            parts = [
                guard.part(group, Drain(self.backlog, connection, self._aside, self._words).run(), name="drain"),
                guard.part(group, self._receipts.follow(connection), name="receipts"),
                guard.part(group, self.publisher.watch(), name="puback-watch"),
                guard.part(group, self.states.run(connection), name="states"),
                guard.part(group, self._drain_adopted(connection, group), name="adopted-drains"),
            ]
            try:
                await self.publisher.serve(connection)
            finally:
                self._suspect_adopted(connection.lost)
            parts += [one.drain for one in self._adopted if one.drain is not None]
            for part in parts:
                part.cancel()
            await self.states.leave(connection)

    def _suspect_adopted(self, lost: str | None) -> None:
        """If the broker ended the connection over a topic, it may be one of these."""
        if mqtt.blames_a_message(lost):
            for one in self._adopted:
                one.aside.disconnected(one.aside.sending, asyncio.get_running_loop().time())

    async def settling(self, connection: mqtt.Connection) -> None:
        """Goes on sending what is missing, after the publisher has finished, until the connection is lost."""
        await Drain(self.backlog, connection, self._aside, self._words).run()

    def heard(self, name: str, payload: bytes) -> bool:
        """Takes a message if it is a receipt, or an offer of some; tells whether it is."""
        heard = [self._receipts.heard(name, payload), *(one.receipts.heard(name, payload) for one in self._adopted)]
        return any(heard)

    async def adopt(self, folder: Path) -> None:
        """Empties the spools of gateways that are no more; ends with that, or when it is cancelled."""
        await asyncio.sleep(ADOPT_SECONDS)
        async with together() as group:
            for left in spool_folder.abandoned(folder, self._own.spool_bytes, self._own.spool_age):
                guard.start(group, "file", self._empty(left), name="adopted-spool")

    async def _empty(self, left: Abandoned) -> None:
        one: _Adopted | None = None
        try:
            backlog = Backlog(left.spool, 1, self._own.wanted, shown=False)
            await backlog.open()
            log.get("spool").info("emptying the spool of a gateway that is no more", messages=backlog.stored)
            one = _Adopted(backlog, Receipts(self._own.share, backlog, self._words), Aside())
            self._adopted.append(one)
            await self._emptied(backlog)
        except SpoolError as error:
            log.get("spool").error("an abandoned spool cannot be read", reason=str(error))
        finally:
            if one is not None:
                self._adopted.remove(one)
                if one.drain is not None:
                    one.drain.cancel()
                    await asyncio.wait([one.drain])
            left.close(remove=one is not None and not one.backlog.stored)

    async def _emptied(self, backlog: Backlog) -> None:
        async with together() as group:
            tasks = [
                guard.part(group, keeping.store(backlog), name="adopted-spool-store"),
                guard.part(group, keeping.expire(backlog), name="adopted-spool-age"),
            ]
            while backlog.stored:
                await backlog.changed(_LOOK_SECONDS)
            for task in tasks:
                task.cancel()

    async def _drain_adopted(self, connection: mqtt.Connection, group: asyncio.TaskGroup) -> None:
        seen: list[_Adopted] = []
        while True:
            for one in self._adopted:
                if one not in seen:
                    seen.append(one)
                    await one.receipts.join(connection)
                    drain = Drain(one.backlog, connection, one.aside, self._words)
                    one.drain = guard.part(group, drain.run(), name="adopted-drain")
            await asyncio.sleep(_LOOK_SECONDS)
