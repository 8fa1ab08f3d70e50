"""Private parts of libraries that we use: they are there, in the one version that we take."""

import ast
import asyncio
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from asyncua import Client
from asyncua.ua import ua_binary
from snap7.async_client import AsyncClient

from gateway.drivers.opcua import limits as opcua_limits

ROOT = Path(__file__).parents[2]
OURS = ("nexus", "gateway", "ingestion", "console", "simulators", "db")
PUBLIC = {"_replace", "_make", "_fields", "_asdict"}  # of a named tuple
USED = {
    "gateway/drivers/opcua/limits.py": "asyncua",
    "gateway/drivers/s7/session.py": "python-snap7",
    "console/service.py": "uvicorn",
}


def _is_private(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and re.match(r"_[^_]", node.attr) is not None
        and node.attr not in PUBLIC
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    )


def test_no_other_module_uses_private_parts() -> None:
    files = [file for top in OURS for file in (ROOT / top).rglob("*.py")]
    found = {
        str(file.relative_to(ROOT)) for file in files if any(map(_is_private, ast.walk(ast.parse(file.read_text()))))
    }
    assert found == set(USED), "say so here, pin the library to one version, and test that the part is there"


@pytest.mark.parametrize("library", USED.values())
def test_whose_private_parts_we_use_is_pinned_to_one_version(library: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"{library}=={version(library)}" in extras["all"] + extras["console"], (
        f"{library} {version(library)} is not the one that we take"
    )


def _asyncua() -> bool:
    client = Client("opc.tcp://127.0.0.1:1")
    opcua_limits.bound(client)
    protocol = client.uaclient._make_protocol()
    hung_up: list[int] = []
    protocol.disconnect_socket = lambda: hung_up.append(len(protocol.receive_buffer))
    for _ in range(2):  # the beginning of a message of two thousand million bytes
        protocol.data_received(b"ACKF" + (2**31).to_bytes(4, "little") + bytes(opcua_limits.MOST_BYTES // 2))
    return (
        len(hung_up) == 1
        and protocol._connection._incoming_size == 0  # of the parts that came before
        and ua_binary.Primitives1.Null.unpack_array(None, 0) == ()
    )


def _snap7() -> bool:
    protocol = AsyncClient().protocol
    return protocol._next_sequence() != protocol._next_sequence() and callable(protocol.build_write_request)


def _uvicorn() -> bool:
    return asyncio.iscoroutinefunction(uvicorn.Server._serve)


@pytest.mark.parametrize(
    ("library", "is_there"), [("asyncua", _asyncua), ("python-snap7", _snap7), ("uvicorn", _uvicorn)]
)
def test_the_parts_are_there(library: str, is_there: Callable[[], bool]) -> None:
    async def look() -> bool:
        return is_there()

    try:
        assert asyncio.run(look())
    except Exception as error:
        pytest.fail(f"{library} {version(library)} has other parts now: {error!r}")
