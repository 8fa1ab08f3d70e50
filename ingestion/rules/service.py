"""`nexus rules`: waits for the group's lock, goes on where the rules were left, and lets go at a stop or an outage."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

from ingestion.rules import metrics
from ingestion.rules.definition import Rule
from ingestion.rules.engine import Engine
from ingestion.rules.files import load
from ingestion.rules.outbox import Outbox
from ingestion.rules.progress import Progress
from ingestion.rules.session import Session
from ingestion.rules.settings import Settings
from ingestion.rules.store import Store, opened
from ingestion.rules.worker import Worker
from ingestion.store.database import DatabaseAwayError
from nexus import mqtt
from nexus.config.files import signature
from nexus.contract import alarm
from nexus.process import cleartext, log, names, probe, settings, supervisor
from nexus.process.backoff import Backoff
from nexus.process.clock import now_ms
from nexus.process.run import run_until, task_group

RECEIVE_MAXIMUM = 2_000  # messages that are not acknowledged
LEAVE_SECONDS = 3.0
LONGEST_PAUSE = 5.0  # of tries to reach the database


class _Rules:
    """Active while the lock is ours; everything begins anew after an outage of the database, from what it has."""

    def __init__(self, own: Settings, path: Path, rules: Sequence[Rule], broker: mqtt.Broker) -> None:
        self._own, self._path, self._rules, self._broker = own, path, rules, broker
        self._signature = signature(path)
        self._session: Session | None = None
        self._engine: Engine | None = None
        self._is_waiting = False
        self._away: str | None = "not connected yet"
        self._log = log.get("rules")
        self._client = mqtt.Client(
            own.group,
            session_seconds=own.session_seconds,
            receive_maximum=RECEIVE_MAXIMUM,
            connect_seconds=own.connect_seconds,
        )

    def waiting_for(self) -> list[str]:
        """What keeps us from being active, or from taking over."""
        if self._away is not None:
            return [f"the database: {self._away}"]
        if self._session is not None and not self._session.subscribed:
            return [f"the broker, {self._broker}: {self._session.away}"]
        return []

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        found = self.waiting_for()
        if signature(self._path) != self._signature:
            found.append(f"{self._path} has changed: restart `nexus rules` to use it")
        if self._session is not None:
            found += self._session.standing_still
            found += [f"the broker refuses: {reason}" for reason in self._session.refusals]
            found += [f"a device has the path of rule {path}: change one" for path in sorted(self._session.contested)]
        if self._engine is not None:
            for rule in self._rules:
                problems = self._engine.problems(rule.path) + self._engine.refused(rule.path)
                found += [f"rule {rule.name}: {problem}" for problem in problems]
        return found

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set."""
        backoff = Backoff(LONGEST_PAUSE)
        while not stop.is_set():
            began = monotonic()
            try:
                await self._take_turn(stop)
                continue
            except DatabaseAwayError as error:
                if self._away != str(error):
                    self._log.warning("database away: nothing is acknowledged", error=str(error))
                self._away = str(error)
                metrics.database_up.set(0)
            except Exception as error:
                supervisor.failed("peer", "rules", error)
            await run_until(stop, asyncio.sleep(backoff.pause(monotonic() - began)))

    async def _take_turn(self, stop: asyncio.Event) -> None:
        stores: list[Store] = []
        async with AsyncExitStack() as stack:

            async def acquire() -> None:
                one = opened(self._own.database_url, self._own.group, self._note_waiting)
                stores.append(await stack.enter_async_context(one))

            try:
                if not await run_until(stop, acquire()):
                    return
                self._is_waiting = False
                await self._be_active(stores[0], stop)
            finally:
                self._session = self._engine = None
                metrics.active.set(0)

    def _note_waiting(self) -> None:
        """Another process is active, and we are ready."""
        self._reached()
        if not self._is_waiting:
            self._is_waiting = True
            self._log.info("another process is active: waiting for its end", group=self._own.group)

    def _reached(self) -> None:
        self._away = None
        metrics.database_up.set(1)

    async def _be_active(self, store: Store, stop: asyncio.Event) -> None:
        contents = await store.load()
        self._reached()
        self._engine = engine = Engine(
            self._rules, int(self._own.rules_lateness * 1000), contents.states, contents.alarms
        )
        outbox = Outbox(
            contents.outbox, contents.last, {message.topic: alarm.encode(message) for message in engine.alarms}
        )
        outbox.offered = contents.offered
        engine.begin(now_ms())
        self._log.info("active", group=self._own.group, rules=len(self._rules), outbox=len(outbox))
        metrics.active.set(1)
        async with task_group(DatabaseAwayError) as group:
            written = asyncio.Event()
            progress = Progress()
            worker = Worker(engine, store, outbox, progress, written)
            session = self._session = Session(
                self._own, contents.publisher, engine, outbox, progress, received=worker.receive, written=written
            )
            keeping = supervisor.part(group, store.keep(), name="lock")
            working = supervisor.part(group, worker.run(), name="worker")
            talking = supervisor.part(
                group,
                session.run(self._broker, self._client, worker.subscribed, worker.away, store.check),
                name="session",
            )
            await stop.wait()
            session.leave()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await asyncio.wait({talking})
            for task in (keeping, working, talking):
                task.cancel()


async def serve(stop: asyncio.Event, path: Path) -> None:
    """Evaluates the rules at `path` until `stop` is set. Raises ConfigError."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    settings.check_database_url(own.database_url, process.environment)
    broker = mqtt.settings.load(process.environment)
    rules = load(path)
    names.warn(os.environ)
    cleartext.warn(str(broker), own.database_url)
    service = _Rules(own, path, rules, broker)
    async with probe.serve(process, metrics.registry, service.waiting_for, problems=service.problems):
        await service.run(stop)
