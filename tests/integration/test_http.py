"""The pages: who may ask, and that asking much, or half, costs the service nothing."""

import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry, Metric

from nexus.process import http, probe, supervisor
from nexus.process.errors import ConfigError
from nexus.process.run import run
from nexus.process.settings import Process
from tests.parts import PATIENCE, free_port

TOKEN = "a-token-of-ours"


class Pages:
    """What is served, and how often the metrics were made."""

    def __init__(self, **settings: Any) -> None:
        self.process = Process(health_port=free_port(), environment="production", **settings)
        self.collected = 0
        self.url = f"http://127.0.0.1:{self.process.health_port}"

    def collect(self) -> Iterable[Metric]:
        self.collected += 1
        return []

    @asynccontextmanager
    async def served(self) -> AsyncIterator[ClientSession]:
        async def fails(_: web.Request) -> web.Response:
            raise RuntimeError("a fault in a page")

        async def takes(request: web.Request) -> web.Response:
            return web.json_response(len(await request.read()))

        registry = CollectorRegistry()
        registry.register(self)
        routes = [web.get("/fails", fails), web.post("/takes", takes)]
        async with probe.serve(self.process, registry, list, routes=routes), ClientSession(self.url) as session:
            yield session


async def status(session: ClientSession, path: str, **headers: str) -> int:
    async with session.get(path, headers=headers) as answer:
        return answer.status


def test_pages_are_for_this_machine_unless_told_otherwise() -> None:
    assert Process().health_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("localhost:8081", 200),
        ("10.1.2.3:8081", 200),
        ("[fd00::1]:8081", 200),
        (f"{socket.gethostname()}:8081", 200),
        ("Gateway:8081", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
async def test_only_our_own_names_are_answered(host: str, code: int) -> None:
    """Else a page of another site, whose name is made to lead here, could read ours with its visitor's browser."""

    async with Pages(http_hosts="gateway, gateway.nexus").served() as session:
        assert await status(session, "/health", Host=host) == code


async def test_with_a_token_only_the_probes_are_open() -> None:
    async with Pages(http_token=TOKEN).served() as session:
        assert await status(session, "/health") == 200
        assert await status(session, "/ready") == 200
        assert await status(session, "/metrics") == 401
        assert await status(session, "/metrics", Authorization="Bearer another") == 401
        assert await status(session, "/metrics", Authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize("token", ["", "change-me", "short"])
async def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="NEXUS_HTTP_TOKEN"):
        async with Pages(http_token=token).served():
            pass


async def test_half_sent_requests_keep_nobody_out() -> None:
    pages = Pages()
    async with pages.served() as session:
        port = pages.process.health_port
        halves = []
        for _ in range(http.CONNECTIONS * 5):
            _, writer = half = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: local")
            halves.append(half)
        async with asyncio.timeout(5 * PATIENCE):
            assert await status(session, "/health") == 200
            # Those that came first were closed for those that came later.
            ends = [await reader.read() for reader, _ in halves[: -http.CONNECTIONS]]
        assert set(ends) == {b""}
        for _, writer in halves:
            writer.close()


async def test_a_request_that_does_not_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.3)

    pages = Pages()
    async with pages.served():
        begun, silent, endless = [
            await asyncio.open_connection("127.0.0.1", pages.process.health_port) for _ in range(3)
        ]
        begun[1].write(b"GET /health HTTP/1.1\r\nHost: local")
        endless[1].write(b"POST /takes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
        async with asyncio.timeout(5 * PATIENCE):
            assert await begun[0].read() == b""
            assert await silent[0].read() == b""
            assert (await endless[0].read()).startswith(b"HTTP/1.1 503")
        for _, writer in (begun, silent, endless):
            writer.close()


async def test_the_metrics_are_made_once_a_second_whoever_asks() -> None:
    pages = Pages()
    async with pages.served() as session:
        clock = asyncio.get_running_loop().time
        before, began = pages.collected, clock()
        await asyncio.gather(*(status(session, "/metrics") for _ in range(40)))
        assert 1 <= pages.collected - before <= 1 + (clock() - began) / http.CACHE_SECONDS


async def test_who_asks_too_often_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUESTS_A_SECOND", 10)

    async with Pages().served() as session:
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(10):
            assert await status(session, "/metrics") == 200
        quick = clock() - began
        assert await status(session, "/metrics") == 200
        assert quick < 0.9 * PATIENCE
        assert clock() - began >= 1


async def test_a_flood_of_requests_delays_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUESTS_A_SECOND", 5)
    monkeypatch.setattr(http, "_WAIT_SECONDS", 60.0)

    async def ask(port: int, path: str) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        kept.append(writer)
        return reader

    kept: list[asyncio.StreamWriter] = []

    pages = Pages()
    async with pages.served():
        port = pages.process.health_port
        flood = [await ask(port, "/metrics") for _ in range(http.CONNECTIONS * 3)]
        for _ in range(3):
            for path in ("/health", "/ready"):
                async with asyncio.timeout(2 * PATIENCE):
                    probe_reader = await ask(port, path)
                    assert (await probe_reader.readline()).startswith(b"HTTP/1.1 200")
        answers = [await _beginning(reader) for reader in flood]
        assert answers.count(b"HTTP/1.1 429") > http.CONNECTIONS, "what is too much is told so"
        assert answers.count(None) == http.WAITING, "these wait still, and none of them was closed"
        for writer in kept:
            writer.close()


async def _beginning(reader: asyncio.StreamReader) -> bytes | None:
    """The beginning of an answer; None if there is none yet."""
    try:
        async with asyncio.timeout(0.05):
            return await reader.read(12)
    except TimeoutError:
        return None


async def test_a_connection_that_waits_for_its_answer_is_not_closed_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "OF_ONE_ADDRESS", 4)

    pages = Pages()
    async with pages.served():
        asked = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", pages.process.health_port)
            writer.write(b"POST /takes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab")
            asked.append((reader, writer))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5 * PATIENCE):
            for reader, writer in asked[:4]:
                writer.write(b"c")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            for reader, _ in asked[4:]:
                with suppress(ConnectionError):
                    assert await reader.read() == b"", "one connection too many"
        for _, writer in asked:
            writer.close()


def test_a_page_that_fails_is_contained(capfd: pytest.CaptureFixture[str]) -> None:
    before = supervisor.faults.labels("request")._value.get()

    async def scenario() -> None:
        async with Pages().served() as session:
            assert await status(session, "/fails") == 500
            assert await status(session, "/health") == 200

    asyncio.run(scenario())
    assert supervisor.faults.labels("request")._value.get() == before + 1


def test_bodies_and_headers_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with Pages().served() as session:
            async with session.post("/takes", data=b"x" * 60_000) as answer:
                assert answer.status == 200
            async with session.post("/takes", data=b"x" * 70_000) as answer:
                assert answer.status == 413
            assert await status(session, "/health", Long="x" * 10_000) == 400

    asyncio.run(scenario())
    assert caplog.records == []


def test_a_service_may_have_as_many_descriptors_as_it_can() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = []

    async def service(_: asyncio.Event) -> None:
        found.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        assert run(service) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [hard]


def test_modules_of_the_working_directory_are_not_run(tmp_path: Path) -> None:
    for name in ("db", "gateway", "typing_extensions", "argparse"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('this is not our {name}')")
    (tmp_path / "devices.yaml").write_text("devices: []")
    done = subprocess.run(
        [sys.executable, "-m", "nexus", "db", "status"],
        cwd=tmp_path,
        env={"NEXUS_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NEXUS_DATABASE_URL: no connection" in done.stderr
