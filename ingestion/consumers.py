"""`nexus ingest --consumers N`: N consumers in one pod, each a process with its own slot, behind one health port."""

import asyncio
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from nexus.process import guard, http, log, settings
from nexus.process.errors import ConfigError
from nexus.process.run import together

STOP_SECONDS = 8.5  # each consumer ends by itself within this
RESTART_SECONDS = (1.0, 30.0)  # after an end that nobody asked for; doubled each time that it was soon
_STABLE_SECONDS = 60.0
_BAD_CONFIGURATION = 2
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_ASK = ClientTimeout(total=3)


async def serve(stop: asyncio.Event, count: int) -> None:
    """Runs `count` consumers until `stop` is set; one that ends is started again. Raises ConfigError."""
    process = settings.load(settings.Process)
    with tempfile.TemporaryDirectory(prefix="nexus-ingest-") as folder:
        consumers = [_Consumer(number, Path(folder) / f"{number}.sock") for number in range(count)]
        app = _pages(consumers)
        async with (
            http.site(app, process, process.health_host, process.health_port, "NEXUS_HEALTH_PORT"),
            together() as group,
        ):
            for one in consumers:
                guard.part(group, one.run(stop), name=f"consumer-{one.number}")


class _Consumer:
    """One process, and what it says of itself."""

    def __init__(self, number: int, socket: Path) -> None:
        self.number = number
        self._socket = socket
        self._log = log.get("consumers").bind(consumer=number)

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps it running until `stop` is set, then ends it in order."""
        pause, most = RESTART_SECONDS
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            code = await self._once(stop)
            if stop.is_set():
                return
            if code == _BAD_CONFIGURATION:
                raise ConfigError("a consumer refused its configuration: see the line before")
            pause = RESTART_SECONDS[0] if loop.time() - began > _STABLE_SECONDS else min(most, pause * 2)
            self._log.error("a consumer has ended, and is started again", code=code, seconds=pause)
            await _set_within(stop, pause)

    async def _once(self, stop: asyncio.Event) -> int:
        """From its start to its end; gives its exit code."""
        environment = {**os.environ, "NEXUS_HEALTH_HOST": f"unix:{self._socket}"}
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "nexus", "ingest"),
            env=environment,
            start_new_session=True,  # what stops us, we pass on
            preexec_fn=_end_with_parent,
        )
        ending = asyncio.create_task(running.wait(), name=f"consumer-{self.number}-end")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                running.terminate()
                await asyncio.wait({ending}, timeout=STOP_SECONDS)
            return await ending if ending.done() else -1
        finally:
            stopping.cancel()
            if running.returncode is None and not ending.done():
                running.kill()
                await ending

    async def ask(self, page: str) -> tuple[int, str]:
        """Status and text of one of its pages; 0 while it does not answer."""
        try:
            async with (
                ClientSession(connector=UnixConnector(str(self._socket)), timeout=_ASK) as session,
                session.get(f"http://consumer{page}") as answer,
            ):
                return answer.status, await answer.text()
        except (ClientError, TimeoutError, OSError) as error:
            return 0, str(error)


def _end_with_parent() -> None:
    """Should we be killed, the kernel stops the consumer. In the consumer, before it runs."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _pages(consumers: list[_Consumer]) -> web.Application:
    """What the pages of all the consumers say, on one."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "problems": []})

    async def ready(_: web.Request) -> web.Response:
        answers = await asyncio.gather(*(one.ask("/ready") for one in consumers))
        missing = [
            f"consumer {one.number}" for one, (status, _) in zip(consumers, answers, strict=True) if status != 200
        ]
        return web.json_response({"ready": not missing, "waiting_for": missing}, status=503 if missing else 200)

    async def together_now() -> bytes:
        answers = await asyncio.gather(*(one.ask("/metrics") for one in consumers))
        pages = {number: text for number, (status, text) in enumerate(answers) if status == HTTPStatus.OK}
        registry = CollectorRegistry()
        registry.register(_Together(pages))
        return generate_latest(registry)

    page = http.Cached(together_now)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page.body(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)])
    return app


class _Together(Collector):
    """The metrics of several processes, told apart by the label `consumer`."""

    def __init__(self, pages: dict[int, str]) -> None:
        self._families: dict[str, Metric] = {}
        for number, text in pages.items():
            for family in text_string_to_metric_families(text):
                whole = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    whole.samples.append(sample._replace(labels={**sample.labels, "consumer": str(number)}))

    def collect(self) -> Iterable[Metric]:
        return self._families.values()
