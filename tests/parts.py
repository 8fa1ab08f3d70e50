"""Real parts for tests: a broker, a database, and the project's own processes, each ended with its test."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import paho.mqtt.client
import paho.mqtt.publish
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexus.cli import embedded
from nexus.mqtt import Broker
from tests.forked import Fork, start

ANYBODY = "allow_anonymous true"  # a broker's setting; `nexus` processes are started on such a one for a reason only
OPEN_PORTS: set[int] = set()
DEADLINE = 20.0
PATIENCE = float(os.environ.get("NEXUS_TEST_PATIENCE", "1"))  # on a busy machine, wait so many times as long

T = TypeVar("T")


def secret(user: str) -> str:
    """The password that one of the broker's users has in tests."""
    return f"secret-{user}"


def publish(port: int, topic: str, *payloads: bytes, user: str = "gateway", retain: bool = False) -> None:
    """As somebody else's client does, with QoS 1."""
    messages = [{"topic": topic, "payload": payload, "qos": 1, "retain": retain} for payload in payloads]
    paho.mqtt.publish.multiple(
        messages,  # type: ignore[arg-type]
        hostname="127.0.0.1",
        port=port,
        protocol=paho.mqtt.client.MQTTv5,
        auth={"username": user, "password": secret(user)},
    )


def until(condition: Callable[..., T], what: str, seconds: float = DEADLINE) -> T:
    """Waits until `condition()` is true, and gives what it said; fails after `seconds`."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.02)
    return found


def as_role(url: str, role: str) -> str:
    """A database's URL with the rights of a role; as it is, if it has options already, or is no URL."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return url
    return url if "options" in given else make_conninfo(url, options=f"-crole={role}")


def as_user(url: str, user: str) -> str:
    """A broker's URL for one of its users; as it is, if it names one already, or certificates do."""
    given = urlsplit(url)
    return f"mqtt://{user}:{secret(user)}@{given.netloc}" if given.scheme == "mqtt" and not given.username else url


# Below those that the system gives to outgoing connections: none of these can take one between now and its use.
# Test runs side by side begin at different ones, and so do the workers of one.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
_first = 12_000 + (_run * 97 + _worker * 3_000) % 20_000
_ports: Iterator[int] = itertools.cycle([*range(_first, 32_000), *range(12_000, _first)])


def free_port() -> int:
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Mosquitto:
    """A broker on a port of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, lines: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        if ANYBODY in lines:
            OPEN_PORTS.add(self.port)
        self._file = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        folder.chmod(0o1777)
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\nmax_queued_messages 0\nmax_inflight_messages 65535\n{lines}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        program = os.environ.get("NEXUS_MOSQUITTO") or shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "no Mosquitto: run the tests with `make test`, which installs it"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([program, "-c", str(self._file)], stdout=log, stderr=log)
        until(lambda: listens(self.port) or self._dead(), "the broker listens")
        return self

    def mqtt(self, user: str) -> str:
        """The URL for one of its users."""
        return as_user(self.url, user)

    def login(self, user: str) -> Broker:
        """The same, for our own client."""
        return Broker("127.0.0.1", self.port, user, secret(user))

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def _dead(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Nexus:
    """One `nexus` process, its log, and its health port; `descriptors` limits how many it may have."""

    def __init__(
        self, folder: Path, arguments: list[str], environment: dict[str, str], descriptors: int | None = None
    ) -> None:
        self.port = free_port()
        self._descriptors = descriptors
        self.log = folder / f"{arguments[0]}-{self.port}.log"
        self._arguments = arguments
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")},
            "NEXUS_HEALTH_PORT": str(self.port),
            "NEXUS_API_PORT": "0",
            "NEXUS_SPOOL_DIR": str(folder / "spool"),
            "NEXUS_STATE_DIR": str(folder / "state"),
            **environment,
        }
        self.process = self._spawn()

    def _spawn(self) -> Fork | subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return start(self._arguments, self._environment, log.fileno(), self._descriptors)

    def restart(self) -> None:
        """The same again, after its end."""
        assert self.process.poll() is not None
        self.process = self._spawn()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the health port; 0 while nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until_ready(self) -> "Nexus":
        until(lambda: self.get("/ready")[0] == 200 or self.ended(), f"{self._arguments[0]} is ready")
        return self

    def ended(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return False

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def events(self) -> list[dict[str, Any]]:
        """The log's lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def ended_with_block(*processes: "Nexus") -> Iterator[None]:
    try:
        yield
    finally:
        for one in processes:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()


class Postgres:
    """A server of its own, which can be stopped, killed and started again.

    The wheel's plain one, or what NEXUS_TEST_POSTGRES_BIN has (with NEXUS_TEST_POSTGRES_OPTIONS, like
    `shared_preload_libraries=timescaledb`); programs there take care themselves not to run as root. It begins with a copy
    of `data`, those of a server that was stopped, if they are given.
    """

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.data, self.log = folder / "data", folder / "postgres.log"
        given = os.environ.get("NEXUS_TEST_POSTGRES_BIN")
        self.programs = Path(given) if given else embedded.programs()
        self._user: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 and not given else {}
        )
        folder.chmod(0o777)
        if data is None:
            self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-D", str(self.data))
        else:
            subprocess.run(["cp", "-a", str(data), str(self.data)], check=True)
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={folder}"]
        options.append("fsync=off")  # it is the server that tests kill, and not the machine
        options += os.environ.get("NEXUS_TEST_POSTGRES_OPTIONS", "").split()
        self._options = " ".join(f"-c {option}" for option in options)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # the server inherits it, and a pipe would not end
            check=False,
            **self._user,
        )
        assert done.returncode == 0, (program, arguments)

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.log), "-o", self._options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")


class Hole:
    """A way to a port that can be made to swallow everything, without a word to either side."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.open = threading.Event()
        self.open.set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                one, _ = self._listener.accept()
            except OSError:
                continue
            try:
                other = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                one.close()
                continue
            for here, there in ((one, other), (other, one)):
                threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        try:
            while data := here.recv(65536):
                self.open.wait()
                there.sendall(data)
        except OSError:
            pass
        with suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)
        here.close()

    def close(self) -> None:
        self._ended = True
        self.open.set()
        self._listener.close()
