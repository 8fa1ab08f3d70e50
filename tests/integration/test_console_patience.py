"""The console's HTTP: who sends half a request, or does not read the answer, is not waited for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_network

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from console import patience
from console.patience import PatientHttp
from tests.parts import PATIENCE

WAIT = 10.0 * PATIENCE
LARGE = 20_000_000  # more than the kernel takes
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
NOTHING = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
PROXY = "127.0.0.2"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0 if scope["path"] == "/nothing" else LARGE
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": bytes(size)})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Of a server that looks often, and keeps no idle connection but PROXY's."""
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))
    http = partial(PatientHttp, proxies=(ip_network(PROXY),))
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None, timeout_keep_alive=0)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving


@asynccontextmanager
async def client(port: int, sent: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Has sent this, and reads no more than 64 kB of what comes unless it is told to."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=own, limit=32_768)
    writer.write(sent)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def rest(reader: asyncio.StreamReader) -> int:
    """Bytes until the connection ends, as it may."""
    size = 0
    try:
        async with asyncio.timeout(WAIT):
            while part := await reader.read(65_536):
                size += len(part)
    except ConnectionError:
        pass
    return size


async def until(condition: object) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
async def test_who_sends_no_whole_head_is_not_waited_for(port: int, sent: bytes) -> None:
    async with client(port, sent) as reader:
        assert await rest(reader) == 0


async def test_an_answer_that_nobody_takes_is_ended(port: int) -> None:
    async with client(port, ASKED) as reader:
        await until(lambda: PatientHttp._behind)
        await until(lambda: not PatientHttp._behind)
        assert await rest(reader) < LARGE


async def test_who_reads_slowly_gets_the_whole_answer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(port, ASKED) as reader:
        monkeypatch.setattr(patience, "LEAST_TAKEN", 1)
        monkeypatch.setattr(patience, "MOST_LOOKS", 10)
        size = 0
        for _ in range(30):  # longer than who takes nothing has
            size += len(await reader.read(65_536))
            await asyncio.sleep(0.1)
        assert size + await rest(reader) > LARGE


async def test_answers_that_wait_are_bounded_in_all(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_SECONDS", 60.0)
    monkeypatch.setattr(patience, "MOST_UNSENT", 2 * LARGE)
    async with client(port, ASKED) as first, client(port, ASKED):
        await until(lambda: len(PatientHttp._behind) == 2)
        async with client(port, ASKED) as third:
            assert await rest(first) < LARGE, "who has been behind for longest is cut"
            assert await rest(third) > LARGE


async def test_a_proxy_may_keep_its_connection_and_nobody_else(port: int) -> None:
    own = socket.create_connection(("127.0.0.1", port), WAIT, source_address=(PROXY, 0))
    reader, writer = await asyncio.open_connection(sock=own)
    for _ in range(2):
        writer.write(NOTHING)
        async with asyncio.timeout(WAIT):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with client(port, NOTHING) as other:
            assert await rest(other) > 0
        for _ in range(3):  # each is looked at twice, and so is the proxy's
            async with client(port, b"") as silent:
                assert await rest(silent) == 0
    writer.close()


async def test_a_proxy_that_sends_half_a_head_is_not_waited_for(port: int) -> None:
    own = socket.create_connection(("127.0.0.1", port), WAIT, source_address=(PROXY, 0))
    reader, writer = await asyncio.open_connection(sock=own)
    writer.write(NOTHING)
    async with asyncio.timeout(WAIT):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET / HTTP")
    assert await rest(reader) == 0
    writer.close()
