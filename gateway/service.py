"""The gateway as a whole: a task a device, one publisher, and an orderly end."""

import asyncio
from pathlib import Path

from gateway import config, metrics
from gateway.api import Board
from gateway.config import Configured
from gateway.poller import Poller
from gateway.publisher import Publisher
from gateway.settings import Settings
from nexus.contract import topic
from nexus.contract.codec import Status
from nexus.contract.reading import Reading
from nexus.runtime import log, probe, settings
from nexus.runtime.broker import Client, Will
from nexus.runtime.run import together

DRAIN_SECONDS = 6.0  # what waits for the broker has this long at a stop


async def serve(stop: asyncio.Event, devices: Path) -> None:
    """Runs until `stop` is set. Raises ConfigError before anything is polled."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    broker = settings.broker(settings.load(settings.Mqtt), process.environment)
    configured = config.load(devices)
    metrics.devices.set(len(configured))
    publisher = Publisher(topic.presence(own.group, own.member), own.queue_readings)
    board = Board(configured)

    def waiting_for() -> list[str]:
        return [] if publisher.connected else [f"the broker, {broker}"]

    def on_scan(one: Configured, readings: list[Reading]) -> None:
        publisher.scan(one, readings)
        board.scan(one, readings)

    def on_status(path: str, status: Status) -> None:
        publisher.status(path, status)
        board.status(path, status)

    client = Client(f"{own.group}-{own.member}", will=Will(topic.presence(own.group, own.member), b""))
    async with (
        probe.serve(process.health_host, process.health_port, metrics.registry, waiting_for),
        probe.site(board.app(), own.api_host, own.api_port, "NEXUS_API_PORT"),
        together() as group,
    ):
        log.get("gateway").info("started", devices=len(configured), tags=sum(len(c.device.tags) for c in configured))
        publishing = group.create_task(publisher.run(broker, client), name="publisher")
        polling = [
            group.create_task(Poller(one, on_scan, on_status).run(), name=f"device {one.device.name}")
            for one in configured
        ]
        await stop.wait()
        await _end(polling, publisher, publishing)


async def _end(polling: list[asyncio.Task[None]], publisher: Publisher, publishing: asyncio.Task[None]) -> None:
    """No more polling; what was read goes out if the broker takes it in time."""
    for task in polling:
        task.cancel()
    await asyncio.wait(polling)
    publisher.finish()
    worth_waiting = publisher.connected or publisher.unsent
    done, _ = await asyncio.wait({publishing}, timeout=DRAIN_SECONDS if worth_waiting else 0)
    if not done:
        log.get("gateway").warning("stopped without the broker", readings_lost=publisher.unsent)
        publishing.cancel()
