"""The console: serves the API and the pages until it is told to stop."""

import asyncio
import errno
import os
import socket
from contextlib import AsyncExitStack
from functools import partial

import uvicorn

from console import app, memory, metrics
from console.access import audit, start
from console.access.access import Access
from console.access.identities import Identities
from console.access.outcomes import Outcomes
from console.database import Database
from console.historian.historian import Historian
from console.live.plant import Plant
from console.live.socket import LiveSocket
from console.live.stored import StoredNow
from console.notify.notifier import Notifier, Surroundings
from console.parts import Parts
from console.patience import PatientHttp
from console.settings import Settings
from nexus import mqtt
from nexus.mqtt import Broker
from nexus.process import cleartext, log, names, probe, settings, supervisor
from nexus.process.errors import ConfigError
from nexus.process.run import task_group

_BACKLOG = 2048
_LOOK_SECONDS = 5.0  # how often the database is looked at, for /ready
_CHECK_SECONDS = 1.0
_GRACE_SECONDS = 3  # for answers that are on their way at a stop


class _Console:
    """The parts, and the server in front of them."""

    def __init__(self, own: Settings, process: settings.Process, broker: Broker) -> None:
        self._own = own
        self._process = process
        self._database = Database(own.database_url, own.console_connections, own.console_query_seconds)
        self._away: str | None = "not asked yet"
        self._plant = Plant(broker, self._database)
        self._notifier = self._notifications()
        metrics.database_connections.set_function(lambda: self._database.busy()[0])
        metrics.database_waiting.set_function(lambda: self._database.busy()[1])

    def waiting_for(self) -> list[str]:
        """What keeps it from answering."""
        return [f"the database: {self._away}"] if self._away else []

    def problems(self) -> list[str]:
        """What needs a person."""
        return [*self.waiting_for(), *(self._notifier.problems() if self._notifier else [])]

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set."""
        listening = _listen(self._own.console_host, self._own.console_port)
        async with AsyncExitStack() as stack:
            stack.callback(listening.close)
            await stack.enter_async_context(self._database.open())
            group = await stack.enter_async_context(task_group(ConfigError))
            parts = self._parts()
            looking = supervisor.keep(group, "timer", self._look, name="database")
            watching = supervisor.part(group, parts.plant.run(), name="plant")
            recording = supervisor.keep(group, "timer", parts.outcomes.run, name="outcomes")
            notifying = self._notify(group)
            checking = supervisor.part(group, self._check(parts.access), name="access")
            await asyncio.wait({checking}, timeout=_CHECK_SECONDS)  # where nobody could log in, nothing is served
            host, port = listening.getsockname()[:2]
            log.get("console").info("serving", address=f"http://{f'[{host}]' if ':' in host else host}:{port}")
            server = self._server(parts)
            # Not `serve`, which would take the signals that stop us for itself.
            serving = supervisor.part(group, server._serve([listening]), name="http")
            stopping = supervisor.part(group, stop.wait(), name="stop")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
            for task in (looking, watching, recording, checking, stopping, *notifying):
                task.cancel()

    def _notifications(self) -> Notifier | None:
        """Raises ConfigError with all that is wrong with their file."""
        if self._own.console_notify is None:
            return None
        around = Surroundings(
            self._own.database_url, self._process.environment, self._own.console_url, self._plant.publish
        )
        return Notifier(self._own.console_notify, around)

    def _notify(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        if (notifier := self._notifier) is None:
            return []
        sending = supervisor.keep(group, "timer", notifier.run, name="notifications")
        return [sending, supervisor.keep(group, "timer", notifier.watch, name="notifications file")]

    def _parts(self) -> Parts:
        historian, access = Historian(self._database), Access(Identities(self._database), self._own.oidc())
        plant = self._plant
        metrics.broker_connected.set_function(lambda: plant.away is None)
        stored = StoredNow(self._database, historian.catalogue)
        outcomes = Outcomes(self._database, audit.INSERT)
        return Parts(self._own, self._database, historian, access, plant, stored, outcomes)

    def _server(self, parts: Parts) -> uvicorn.Server:
        config = uvicorn.Config(
            app.create(parts, (*self._process.http_hosts, *self._own.hosts)),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            http=partial(PatientHttp, proxies=self._own.console_proxies),  # type: ignore[arg-type]  # it calls it, no more
            ws=LiveSocket,
            ws_per_message_deflate=False,  # a window for each client; values are short
            ws_max_size=65_536,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        return uvicorn.Server(config)

    async def _check(self, access: Access) -> None:
        """Raises ConfigError where nobody could log in."""
        if not self._own.console_insecure:
            await start.check(self._database, access)

    async def _look(self) -> None:
        was: str | None = None
        while True:
            self._away = await self._database.look()
            metrics.database_up.set(self._away is None)
            if was is None and self._away is not None:
                log.get("database").warning("the database is away", reason=self._away)
            elif was is not None and self._away is None:
                log.get("database").info("the database is back")
            was = self._away
            await asyncio.sleep(_LOOK_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        remedy = "; set NEXUS_CONSOLE_PORT to another port, or to 0 for any" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"NEXUS_CONSOLE_PORT: cannot listen on {host}:{port}: {error.strerror}{remedy}") from error


async def serve(stop: asyncio.Event) -> None:
    """Runs until `stop` is set. Raises ConfigError."""
    process, own = settings.load(settings.Process), settings.load(Settings)
    own.check()
    memory.give_back()
    settings.check_database_url(own.database_url, process.environment)
    names.warn(os.environ)
    broker = mqtt.settings.load(process.environment)
    cleartext.warn(str(broker), own.database_url)
    console = _Console(own, process, broker)
    async with probe.serve(process, metrics.registry, console.waiting_for, problems=console.problems):
        await console.run(stop)
