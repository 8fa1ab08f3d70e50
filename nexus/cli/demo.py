"""`nexus demo`: the whole way of a reading on embedded parts, and a view of what flows."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from nexus.cli import demo_plant, embedded
from nexus.cli.demo_alarms import DemoAlarms
from nexus.cli.demo_console import Login, new_login
from nexus.cli.demo_plant import Source
from nexus.contract import topic
from nexus.process.errors import ConfigError

_PLACES = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"}
_START_SECONDS = 30.0
_STOP_SECONDS = 12.0

_LAST_VALUES = "SELECT topic, value, value_str, unit, quality FROM metrics_latest ORDER BY topic"
_COUNTS = r"SELECT regexp_replace(topic, '/[^/]*$', ''), count(*) FROM metrics GROUP BY 1"


class _DemoError(Exception):
    """A part did not start, or ended by itself; the text says where its log is."""


@dataclass(frozen=True)
class _Parts:
    """What runs: the processes by name, and where to look at them."""

    processes: Mapping[str, subprocess.Popen[bytes]]
    folder: Path
    database_url: str
    psql: str
    broker_url: str
    sources: tuple[Source, ...]
    login: Login

    def check(self) -> None:
        """Raises _DemoError for a part that ended although nobody asked it to."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise _DemoError(f"{name} ended with code {process.returncode}:\n{self.last_lines(name)}")

    def last_lines(self, name: str) -> str:
        """The end of a part's log: the folder may be gone when somebody wants to look."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-5:])


def demo(seconds: float | None, keep: Path | None) -> int:
    """Runs until Ctrl-C, or for `seconds`; then says what arrived. 1 if one has no rows, or a part failed."""
    console = Console()
    # An exception in the middle of a start would leave a process that nobody knows of: signals only set this.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        folder = _folder(stack, keep)
        try:
            with console.status("starting PostgreSQL, Mosquitto, simulator, gateway, ingestion, rules and console …"):
                server = stack.enter_context(embedded.running(folder))
                parts = _start(stack, folder, server)
                if trouble := parts.login.wait(stop, parts.check, _START_SECONDS):
                    raise _DemoError(f"the console does not answer: {trouble}\n{parts.last_lines('console')}")
                console.print(parts.login.says(), highlight=False, soft_wrap=True)
                console.print(f"Broker: {parts.broker_url}", highlight=False, soft_wrap=True)
                _wait_for_rows(parts, stop)
            with psycopg.connect(parts.database_url, autocommit=True) as database:
                _watch(parts, database, seconds, console, stop)
                code = _summary(parts, database, console)
            _say_next(keep, console)
            return code
        except (_DemoError, OSError, psycopg.Error) as error:
            console.print(f"the demo failed: {error}", style="red", markup=False, highlight=False)
            return 1


def _folder(stack: ExitStack, keep: Path | None) -> Path:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return keep.resolve()
    folder = Path(tempfile.mkdtemp(prefix="nexus-demo-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711 if os.getuid() == 0 else 0o700)  # PostgreSQL does not run as root, and has to reach its data
    return folder


def _start(stack: ExitStack, folder: Path, server: embedded.Server) -> _Parts:
    simulated = {number: embedded.free_port() for number in (5020, 4840, 10102)}
    mqtt, web = embedded.free_port(), embedded.free_port()
    login = new_login(folder, web)
    sources = demo_plant.written(folder, simulated)
    broker = f"mqtt://127.0.0.1:{mqtt}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")},
        "NEXUS_MQTT_URL": broker,
        "NEXUS_DATABASE_URL": server.url,
        "NEXUS_STATE_DIR": str(folder / "state"),
        "NEXUS_LOG_FORMAT": "json",
        "NEXUS_API_PORT": "0",
        "NEXUS_HEALTH_PORT": "0",
        "NEXUS_CONSOLE_PORT": str(web),
        "NEXUS_SPOOL_DIR": str(folder / "spool"),
        "NEXUS_RECEIPTS": "ingestion",
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    health = embedded.free_port()
    broker_file = folder / "mosquitto.conf"
    broker_file.write_text(_mosquitto_conf(mqtt))
    nexus = [sys.executable, "-P", "-m", "nexus"]
    _check([*nexus, "db", "migrate"], environment)
    for arguments in login.commands():
        _check([*nexus, *arguments], environment)
    for name, command in (
        ("mosquitto", [_mosquitto(), "-c", str(broker_file)]),
        ("simulator", [*nexus, "simulate", str(folder / demo_plant.SIMULATION)]),
        ("ingestion", [*nexus, "ingest"]),
        ("rules", [*nexus, "rules", "--rules", str(folder / demo_plant.RULES)]),
        ("gateway", [*nexus, "gateway", "--devices", str(folder / demo_plant.DEVICES)]),
        ("console", [*nexus, "console"]),
    ):
        own = {"NEXUS_HEALTH_PORT": str(health)} if name == "simulator" else {}
        processes[name] = stack.enter_context(_running(name, command, environment | own, folder))
        if name == "simulator":  # a gateway that is there first would count as missing what it cannot read yet
            embedded.wait_for_port(health, processes[name], _START_SECONDS)
    return _Parts(processes, folder, server.url, server.psql, broker, sources, login)


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
        raise _DemoError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _mosquitto() -> str:
    found = os.environ.get("NEXUS_MOSQUITTO") or shutil.which("mosquitto", path=_PLACES["PATH"])
    if found is None:
        raise ConfigError("the demo needs Mosquitto: apt-get install mosquitto, or set NEXUS_MOSQUITTO to its path")
    return found


def _mosquitto_conf(port: int) -> str:
    # The defaults drop messages: a historian's queue has no limit, and its window is as large as MQTT allows.
    return (
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 65535\nlog_type error\nlog_type warning\nlog_dest stderr\n"
    )


def _wait_for_rows(parts: _Parts, stop: threading.Event) -> None:
    """Waits for a row of each device and rule; goes on without those that have none in time, but not without any."""
    deadline = time.monotonic() + _START_SECONDS
    wanted = {topic.device(one.path) for one in parts.sources}
    with psycopg.connect(parts.database_url, autocommit=True) as database:
        while not wanted <= (found := _counts(database)).keys() and not stop.is_set():
            parts.check()
            if time.monotonic() > deadline:
                if found:
                    return
                ends = "\n".join(f"{name}: {parts.last_lines(name)}" for name in parts.processes)
                raise _DemoError(f"no row arrived within {_START_SECONDS:g} s; the ends of the logs:\n{ends}")
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
    alarms = DemoAlarms(database)
    if console.is_terminal:
        # Above the view, which would break a long line where a copy does not run.
        console.print(f"SQL: {parts.psql}", style="dim", highlight=False, soft_wrap=True)
    with Live(console=console, auto_refresh=False, transient=seconds is not None) as live:
        while seconds is None or time.monotonic() - began < seconds:
            if stop.wait(max(0.0, min(1.0, (seconds or 1e9) - (time.monotonic() - began)))):
                break
            parts.check()
            for event in alarms.events():
                live.console.print(event, highlight=False, soft_wrap=True, markup=False)
            counts, now = _counts(database), time.monotonic()
            rates = {device: (rows - before.get(device, 0)) / (now - seen) for device, rows in counts.items()}
            if console.is_terminal:
                live.update(
                    Group(_view(parts, database, counts, rates if before else {}), *alarms.standing()), refresh=True
                )
            before, seen = counts, now


def _view(
    parts: _Parts,
    database: "psycopg.Connection[tuple[object, ...]]",
    counts: Mapping[str, int],
    rates: Mapping[str, float],
) -> Group:
    """A line a device, and beneath it its last values: all of them fit on a small terminal."""
    last: dict[str, list[Text]] = {}
    for name, value, text, unit, quality in database.execute(_LAST_VALUES):
        device, _, tag = str(name).rpartition("/")
        last.setdefault(device, []).append(_value(tag, value, text, unit, quality))
    shown: list[RenderableType] = [
        Text("PLC → gateway → MQTT → ingestion → PostgreSQL: what the table holds now", style="bold")
    ]
    for one in parts.sources:
        key = topic.device(one.path)
        head = f"{one.path}  {one.protocol}  {counts.get(key, 0):,} rows"
        shown.append(Text(head + (f"  {rates[key]:.1f}/s" if key in rates else ""), style="cyan"))
        values = last.get(key, [Text("no row yet", style="red")])
        shown.append(Padding(Text("  ").join(values), (0, 0, 0, 2)))
    shown.append(
        Text(f"{sum(counts.values()):,} rows, {sum(rates.values()):.1f}/s. Ctrl-C stops everything.", style="bold")
    )
    return Group(*shown)


def _value(tag: str, value: object, text: object, unit: object, quality: object) -> Text:
    if quality == 0:
        return Text(f"{tag} bad", style="red")
    return Text(
        f"{tag} {shown_value(value, text)}{f' {unit}' if unit else ''}", style="" if quality == 192 else "yellow"
    )


def shown_value(value: object, text: object) -> str:
    """A value as people read it: a text, or a number with six digits, whole ones with all of theirs."""
    if text is not None or value is None:
        return str(text) if text is not None else "–"
    number = float(str(value))
    return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.6g}"


def _counts(database: "psycopg.Connection[tuple[object, ...]]") -> dict[str, int]:
    return {str(device): int(str(rows)) for device, rows in database.execute(_COUNTS)}


def _summary(parts: _Parts, database: "psycopg.Connection[tuple[object, ...]]", console: Console) -> int:
    counts = _counts(database)
    silent = [one.name for one in parts.sources if not counts.get(topic.device(one.path))]
    for one in parts.sources:
        rows = counts.get(topic.device(one.path), 0)
        console.print(f"{one.name:<10} {one.protocol:<12} {rows:>8,} rows", highlight=False)
    if silent:
        console.print(f"no rows from {', '.join(silent)}", style="red")
    if trouble := parts.login.trouble():
        console.print(f"the console does not answer: {trouble}", style="red", markup=False)
    return 1 if silent or trouble else 0


def _say_next(keep: Path | None, console: Console) -> None:
    nexus = sys.argv[0]
    kept = f"The database and the logs are in {keep}; the same command continues with them.\n" if keep else ""
    console.print(
        f"\n{kept}Next: describe your own PLC as shown in README.md, and check the file with `{nexus} check FILE`.",
        highlight=False,
        soft_wrap=True,
    )
