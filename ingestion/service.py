"""The ingester: claims a slot, consumes over a session, writes batches, and drains at a stop."""

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from time import monotonic

from ingestion import metrics
from ingestion.consume.consumer import Consumer
from ingestion.consume.pipeline import Pipeline
from ingestion.consume.receipts import Receipts
from ingestion.consume.slot import Slot, SlotLostError
from ingestion.decode.decoders import Decoders, filters
from ingestion.decode.encoding import Encoding
from ingestion.settings import Settings
from ingestion.store.bulk import BulkInsert
from ingestion.store.exact import ExactInsert
from ingestion.store.lateness import LatenessMonitor
from ingestion.store.quota import Quota
from ingestion.store.retries import Retries
from ingestion.store.writer import InsertStrategy, Writer
from nexus import mqtt
from nexus.mqtt import Broker, Client
from nexus.process import cleartext, log, names, probe, settings, supervisor
from nexus.process.backoff import Backoff
from nexus.process.run import run_until, task_group

DRAIN_SECONDS = 7.0  # at a stop, to commit what was received


class _Ingester:
    """Claims a slot and consumes with it; claims another should it lose the slot."""

    def __init__(self, own: Settings, broker: Broker, stop: asyncio.Event) -> None:
        self._own = own
        self._broker = broker
        self._stop = stop
        self._log = log.get("ingestion")
        self._quota = Quota(own.rejects_rows, own.rejects_mb * 1_000_000)
        self._slot: Slot | None = None
        self._consumer: Consumer | None = None
        self._pipeline: Pipeline | None = None

    def waiting_for(self) -> list[str]:
        """What keeps rows from being stored now."""
        away = self._slot.away if self._slot is not None else None
        if self._consumer is None or self._pipeline is None:
            return [f"a consumer number, from the database{f': {away}' if away else ''}"]
        away_from_broker = "not subscribed yet" if self._consumer.connected else self._consumer.away
        missing = [] if self._consumer.subscribed else [f"the broker, {self._broker}: {away_from_broker}"]
        if away := self._pipeline.outage or away:
            missing.append(f"the database: {away}")
        return missing

    async def run(self) -> None:
        """Runs until `stop` is set."""
        while not self._stop.is_set():
            self._slot = slot = Slot(self._own.database_url, self._own.group)
            try:
                await self._run_with(slot)
            except SlotLostError as error:
                self._log.warning("taking another consumer number", reason=str(error))
            finally:
                self._consumer = self._pipeline = None
                await slot.release()

    async def _run_with(self, slot: Slot) -> None:
        """Consumes until `stop` is set; a fault costs a pause, not the slot. Raises SlotLostError."""
        backoff = Backoff()
        while not self._stop.is_set():
            began = monotonic()
            try:
                if slot.number < 0 and not await run_until(self._stop, slot.claim()):
                    return
                await self._consume(slot)
                return
            except SlotLostError:
                raise
            except Exception as error:
                supervisor.failed("peer", "ingestion", error)
            self._consumer = self._pipeline = None
            await run_until(self._stop, asyncio.sleep(backoff.pause(monotonic() - began)))

    async def _consume(self, slot: Slot) -> None:
        client = Client(
            f"{self._own.group}-{slot.number}",
            session_seconds=self._own.session_seconds,
            receive_maximum=self._own.receive_maximum,
            connect_seconds=self._own.connect_seconds,
        )
        self._log.info("started", client=client.id)
        async with AsyncExitStack() as stack:
            encoding = Encoding(Decoders(self._own.decoders), self._quota)
            writers = [
                await stack.enter_async_context(Writer(self._own.database_url, self._strategy(encoding)))
                for _ in range(self._own.writers)
            ]
            group = await stack.enter_async_context(task_group(SlotLostError))
            lateness, receipts = LatenessMonitor(self._own.database_url), Receipts(self._own.group)
            self._pipeline = pipeline = Pipeline(
                self._own, encoding, self._quota, lateness, writers=writers, receipts=receipts
            )
            self._consumer = consumer = Consumer(filters(self._own.group, self._own.decoders), pipeline, receipts)

            async def ready() -> None:
                await slot.hold()
                await pipeline.prepare()

            retries = Retries(self._own)
            keeping = supervisor.part(group, slot.keep(lambda: pipeline.lag), name="slot")
            retrying = supervisor.keep(group, "timer", retries.run, name="retries")
            judging = supervisor.part(group, lateness.run(pipeline.lateness_changed), name="lateness")
            writing = supervisor.part(group, pipeline.run(), name="pipeline")
            consuming = supervisor.part(group, consumer.run(self._broker, client, ready), name="consumer")
            await self._stop.wait()
            await self._drain(consumer, pipeline, writing, consuming)
            for task in (keeping, retrying, judging, writing, consuming):
                task.cancel()

    async def _drain(
        self, consumer: Consumer, pipeline: Pipeline, writing: asyncio.Task[None], consuming: asyncio.Task[None]
    ) -> None:
        """Commits what was received, and leaves the broker; within DRAIN_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await consumer.stop()
                pipeline.finish()
                await asyncio.wait({writing})
                consumer.leave()
                if consumer.connected:
                    await asyncio.wait({consuming})
        if not writing.done():
            self._log.error("stopped while the database is away: uncommitted messages stay with the broker")

    def _strategy(self, encoding: Encoding) -> InsertStrategy:
        return BulkInsert(encoding, self._quota) if self._own.ingest_mode == "bulk" else ExactInsert(self._quota)


async def serve(stop: asyncio.Event) -> None:
    """Runs until `stop` is set. Raises ConfigError."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    own.check()
    settings.check_database_url(own.database_url, process.environment)
    broker = mqtt.settings.load(process.environment)
    names.warn(os.environ)
    cleartext.warn(str(broker), own.database_url)
    ingester = _Ingester(own, broker, stop)
    async with probe.serve(process, metrics.registry, ingester.waiting_for, problems=ingester.waiting_for):
        await ingester.run()
