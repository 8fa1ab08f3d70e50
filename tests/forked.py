"""`nexus` processes forked from one that has imported the libraries already, which is most of what a start costs.

A fork runs `python -m nexus` from its first line, with its own arguments, environment, input, output and limit of descriptors.
What Python reads only as it starts, and the working folder, are the server's: where they differ, `start` begins a new
interpreter.
"""

import atexit
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

_SERVER = ("-P", "-m", "tests.fork_server")
_ROOT = Path(__file__).parents[1]
_AT_THE_START = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG")


class Fork:
    """A forked process, with what tests use of subprocess.Popen; `status` is where the server says how it ended."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def __del__(self) -> None:
        self._status.close()  # of one that was killed, nobody may have asked how it ended

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if (code := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(f"nexus, process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            said = self._status.recv(16)
            self._status.close()
            self.returncode = int(said) if said else -signal.SIGKILL  # the server is gone
        return self.returncode


def run(
    arguments: Sequence[str], environment: Mapping[str, str], said: str = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a `nexus` command to its end, with `said` as its input. Raises subprocess.TimeoutExpired."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as output, TemporaryFile("w+") as error:
        given.write(said)
        given.seek(0)
        process = start(arguments, environment, output.fileno(), given=given.fileno(), error=error.fileno())
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, output.read(), error.read())


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: int,
    descriptors: int | None = None,
    *,
    given: int | None = None,
    error: int | None = None,
) -> Fork | subprocess.Popen[bytes]:
    """Starts `nexus` with these arguments; what it prints goes to the file descriptor `output`.

    Its input is the file descriptor `given`, or empty; what it prints as errors goes to `error`, or to `output` as well.
    `descriptors` is how many it may have, if fewer than this process.
    """
    error = output if error is None else error
    with Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno() if given is None else given, output, error]
        if not _can_be_forked(environment):
            command = [sys.executable, "-m", "nexus", *arguments]
            process = subprocess.Popen(command, env=environment, stdin=files[0], stdout=output, stderr=error)
            if descriptors is not None:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
            return process
        mine, theirs = socket.socketpair()
        with theirs:
            texts = {name: os.fspath(value) for name, value in environment.items()}
            asked = {"arguments": list(arguments), "environment": texts, "descriptors": descriptors}
            request = json.dumps(asked).encode()
            server = _server()
            socket.send_fds(server, [len(request).to_bytes(4, "big")], [*files, theirs.fileno()])
            server.sendall(request)
    return Fork(int(mine.recv(16)), mine)


def _can_be_forked(environment: Mapping[str, str]) -> bool:
    """Coverage begins to measure as Python starts."""
    if "COVERAGE_PROCESS_CONFIG" in environment or not hasattr(os, "pidfd_open"):
        return False
    return Path.cwd() == _ROOT and _read_at_the_start(environment) == _of_the_server()


def _read_at_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_THE_START)}


@cache
def _of_the_server() -> dict[str, str]:
    """Fixed when the first process is started, as the server's own environment is."""
    return _read_at_the_start(os.environ)


@cache
def _server() -> socket.socket:
    """One for each worker. It ends when this process does, however that ends: nobody else has this end of the connection."""
    mine, theirs = socket.socketpair()
    with theirs:
        _of_the_server()
        command = [sys.executable, *_SERVER, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(_end, mine, process)
    return mine


def _end(server: socket.socket, process: subprocess.Popen[bytes]) -> None:
    server.close()
    process.wait()
