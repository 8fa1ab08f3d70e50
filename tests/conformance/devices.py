"""A device of every protocol on a socket, which can be told to fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nexus.contract.reading import Value
from simulators import modbus, opcua, s7
from simulators.fault import Fault, Faults
from simulators.line import listening

NAME = "plc"


@dataclass
class Served:
    """A device that serves; `connections` are those of its clients."""

    port: int
    connections: set[asyncio.StreamWriter]


@dataclass(frozen=True)
class Kind:
    """A protocol: its device, how that is described in a device file, and what its tags say."""

    protocol: str
    serve: Callable[[int, Faults], AbstractAsyncContextManager[Served]]
    keys: Callable[[int], dict[str, Any]]
    tags: dict[str, tuple[str, Value]]
    refused: str
    setpoint: str  # the tag that is written, a number
    listens: bool = False
    more: dict[str, Any] = field(default_factory=dict)


def _constant(value: float | str) -> dict[str, Any]:
    return {"kind": "constant", "value": value}


def _modbus(protocol: str) -> Kind:
    points = [
        {"table": "holding", "offset": 0, "type": "float32", "signal": _constant(84.5)},
        {"table": "holding", "offset": 2, "type": "int16", "signal": _constant(-2)},
        {"table": "coil", "offset": 0, "type": "bool", "signal": _constant(1)},
    ]

    @asynccontextmanager
    async def serve(port: int, faults: Faults) -> AsyncIterator[Served]:
        device = modbus.Device.model_validate({"name": NAME, "protocol": protocol, "port": port, "points": points})
        async with modbus.serve([device], faults) as servers:
            [(port, server)] = servers.items()
            yield Served(port, server.connections)

    tags: dict[str, tuple[str, Value]] = {
        "level": ("holding:40001:float32", 84.5),
        "count": ("holding:40003:int16", -2),
        "on": ("coil:1:bool", True),
    }
    return Kind(protocol, serve, _host, tags, "holding:40009:int16", "level")


def _s7() -> Kind:
    points = [
        {"area": "DB1", "offset": 0, "type": "REAL", "signal": _constant(84.5)},
        {"area": "DB1", "offset": 4, "type": "INT", "signal": _constant(-2)},
        {"area": "DB1", "offset": 6, "bit": 3, "type": "BOOL", "signal": _constant(1)},
    ]

    @asynccontextmanager
    async def serve(port: int, faults: Faults) -> AsyncIterator[Served]:
        device = s7.Device.model_validate({"name": NAME, "protocol": "s7", "port": port, "points": points})
        async with s7.serve([device], faults) as servers:
            [(port, server)] = servers.items()
            yield Served(port, server.connections)

    tags: dict[str, tuple[str, Value]] = {
        "level": ("DB1.DBD0:REAL", 84.5),
        "count": ("DB1.DBW4:INT", -2),
        "on": ("DB1.DBX6.3:BOOL", True),
    }
    return Kind("s7", serve, _host, tags, "DB9.DBW0:INT", "level")


def _opcua(mode: str) -> Kind:
    points = [
        {"node": "Level", "signal": _constant(84.5)},
        {"node": "Count", "type": "int64", "signal": _constant(-2)},
        {"node": "On", "type": "bool", "signal": _constant(1)},
    ]

    @asynccontextmanager
    async def serve(port: int, faults: Faults) -> AsyncIterator[Served]:
        device = opcua.Device.model_validate({"name": NAME, "protocol": "opcua", "port": port, "points": points})
        async with opcua.serve([device], faults) as servers:
            [(port, server)] = servers.items()
            yield Served(port, server.connections)

    def keys(port: int) -> dict[str, Any]:
        return {"endpoint": f"opc.tcp://127.0.0.1:{port}", "mode": mode}

    tags: dict[str, tuple[str, Value]] = {
        "level": ("ns=2;s=Level", 84.5),
        "count": ("ns=2;s=Count", -2),
        "on": ("ns=2;s=On", True),
    }
    return Kind("opcua", serve, keys, tags, "ns=2;s=None", "level", listens=mode == "subscribe")


def _lines() -> Kind:
    """The instrument of the example."""

    @asynccontextmanager
    async def serve(port: int, faults: Faults) -> AsyncIterator[Served]:
        channels: dict[str, float] = {"level": 84.5, "count": -2}
        connections: set[asyncio.StreamWriter] = set()

        def answer(verb: str, channel: str, *value: str) -> str:
            if channel not in channels:
                return "error: no such channel"
            if verb == "?":
                return f"{channels[channel]}"
            channels[channel] = float(value[0])
            return "ok"

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            try:
                while line := await reader.readline():
                    said = answer(*line.decode().split())
                    if (fault := faults.of(NAME)) is not None and fault.kind == "hang":
                        continue
                    writer.write(f"{said}\n".encode())
            finally:
                connections.discard(writer)
                writer.transport.abort()

        async with listening(handle, "127.0.0.1", port, connections) as own:
            yield Served(own, connections)

    return Kind("lines", serve, _host, {"level": ("level", 84.5), "count": ("count", -2)}, "nothing", "level")


def _host(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port}


HANG = Fault(kind="hang")
KINDS = {
    "modbus-tcp": _modbus("modbus-tcp"),
    "modbus-rtu-tcp": _modbus("modbus-rtu-tcp"),
    "s7": _s7(),
    "opcua poll": _opcua("poll"),
    "opcua subscribe": _opcua("subscribe"),
    "example": _lines(),
}
