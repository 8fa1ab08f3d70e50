"""Unit tests reach no network and start no process: one that does belongs to tests/integration."""

import sys
from collections.abc import Iterator

import pytest

_FORBIDDEN = frozenset(
    {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"}
)
_running: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _FORBIDDEN and _running:
        raise AssertionError(f"a unit test may not do {event}{arguments!r:.200}: move it to tests/integration")


sys.addaudithook(_watch)  # for good: there is no way to remove one


@pytest.fixture(autouse=True)
def apart(request: pytest.FixtureRequest) -> Iterator[None]:
    _running.append(request.node.nodeid)
    yield
    _running.pop()
