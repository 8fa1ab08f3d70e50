"""The process that `nexus` processes of tests are forked from; see forked.py."""

import gc
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import TypedDict

# By the command's first word, imported when it is asked for first. Not our drivers: when a gateway imports those is tested.
_TOOL = ("nexus.cli.device_files", "gateway.tools.oneshot", "pymodbus.client", "asyncua", "snap7")
_MODULES = {
    "gateway": ("gateway.service", "pymodbus.client", "asyncua", "snap7"),
    "ingest": ("ingestion.service",),
    "rules": ("ingestion.rules.service",),
    "console": ("console.service",),
    "simulate": ("simulators.service", "pymodbus.server", "asyncua", "snap7"),
    "db": ("db.migrate", "db.status", "db.monitor", "db.backup", "db.refresh"),
    "alarms": ("db.migrate", "nexus.cli.alarm_broker", "nexus.cli.alarm_journal", "nexus.cli.alarm_table", *_TOOL),
    **dict.fromkeys(("read", "write", "probe", "browse", "plan", "opcua"), _TOOL),
}


class Request(TypedDict):
    """What forked.py sends, as JSON after its length in 4 bytes."""

    arguments: list[str]
    environment: dict[str, str]
    descriptors: int | None  # how many it may have, if fewer than the server


def forked(server: socket.socket) -> list[str] | None:
    """Serves until a fork is made, and gives its arguments there; None once nobody asks any more."""
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                _bury(selector, key)
                continue
            head, files, _, _ = socket.recv_fds(server, 4, 4)
            if not head:
                return None
            request: Request = json.loads(_exactly(server, int.from_bytes(head, "big")))
            with suppress(Exception):  # it fails in the fork as well, and in its log
                for module in ("nexus.cli", *_MODULES.get(request["arguments"][0], ())):
                    import_module(module)
            gc.freeze()  # what is there now stays shared with the forks
            *standard, status = files
            told = socket.socket(fileno=status)
            if (pid := os.fork()) == 0:
                told.close()
                return _begin(request, selector, standard)
            for file in standard:
                os.close(file)
            told.send(b"%d" % pid)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, told))


def _bury(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, told = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with told, suppress(OSError):  # nobody waits for it any more
        told.send(b"%d" % code)


def _exactly(server: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (part := server.recv(size - len(received))):
            raise EOFError
        received += part
    return received


def _begin(request: Request, selector: selectors.BaseSelector, standard: list[int]) -> list[str]:
    """Makes a fork what a new process is, with these files as its input, output and errors."""
    for key in list(selector.get_map().values()):
        if isinstance(key.fileobj, socket.socket):
            key.fileobj.close()
        else:
            os.close(key.fd)
            key.data[1].close()
    selector.close()
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if (most := request["descriptors"]) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    return request["arguments"]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: those who ask end the forks
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as `python -m` does
    _arguments = forked(socket.socket(fileno=int(sys.argv[1])))
    if _arguments is not None:
        sys.argv = ["nexus", *_arguments]
        runpy.run_module("nexus", run_name="__main__", alter_sys=True)
