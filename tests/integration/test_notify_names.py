"""A name with several addresses, of which the first takes packets and never answers."""

import asyncio
import socket
import threading
from contextlib import ExitStack

import pytest

from console.notify.channels import names
from console.notify.channels.names import Names


def silent(stack: ExitStack) -> int:
    """The port of a server whose queue is full: the kernel drops whoever connects."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    port = int(server.getsockname()[1])
    for _ in range(4):
        one = stack.enter_context(socket.socket())
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    return port


async def test_the_next_address_is_tried_when_one_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports = silent(stack), int(listening.getsockname()[1])

        def found(*_: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        monkeypatch.setattr(names, "ADDRESS_SECONDS", 0.3)
        async with asyncio.timeout(30):
            connection = stack.enter_context(await Names().connected("mail.plant.example", 25))
        assert connection.getpeername()[1] == ports[1]


async def test_our_own_name_is_looked_up_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def found() -> str:
        asked.append(threading.get_ident())
        return "console.plant.example"

    monkeypatch.setattr(socket, "getfqdn", found)
    names._looked_up.cache_clear()
    try:
        told = await asyncio.gather(*(Names().own() for _ in range(8)))
    finally:
        names._looked_up.cache_clear()
    assert told == ["console.plant.example"] * 8
    assert len(asked) == 1
    assert asked != [threading.get_ident()], "not on the loop"
