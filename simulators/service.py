"""Serves the devices of a simulation file, and switches their faults over HTTP."""

import asyncio
from pathlib import Path
from typing import Annotated

import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nexus.process import log, probe, settings
from nexus.process.errors import ConfigError
from nexus.process.wording import words
from simulators import modbus, opcua, s7
from simulators.fault import Faults

Device = Annotated[modbus.Device | s7.Device | opcua.Device, Field(discriminator="protocol")]


class Plant(BaseModel):
    """A simulation file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    devices: list[Device] = Field(min_length=1)


def load(file: Path) -> Plant:
    """Reads a simulation file. Raises ConfigError, a line for each thing that is wrong."""
    try:
        return Plant.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: this is not YAML: {error}") from None
    except ValidationError as error:
        lines = [f"{file}: {'.'.join(map(str, fault['loc']))}: {words(fault, None)}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


HEALTH_PORT = 8089  # unless another is named: a gateway beside it has 8081


async def serve(stop: asyncio.Event, file: Path, host: str | None) -> None:
    """Serves until `stop` is set; on `host`, if given, whatever the file says.

    Raises ConfigError when the file is wrong or a port is taken.
    """
    process = settings.load(settings.Process)
    if "health_port" not in process.model_fields_set:
        process = process.model_copy(update={"health_port": HEALTH_PORT})
    devices = load(file).devices
    if host is not None:
        devices = [device.model_copy(update={"host": host}) for device in devices]
    faults = Faults({device.name for device in devices})
    servers: dict[int, modbus.Server | s7.Server | opcua.Server] = {}

    async def connections(_: web.Request) -> web.Response:
        return web.json_response({str(port): len(server.connections) for port, server in servers.items()})

    routes = [*faults.routes(), web.get("/connections", connections)]
    try:
        async with (
            modbus.serve([one for one in devices if isinstance(one, modbus.Device)], faults) as modbus_servers,
            s7.serve([one for one in devices if isinstance(one, s7.Device)], faults) as s7_servers,
            opcua.serve([one for one in devices if isinstance(one, opcua.Device)], faults) as opcua_servers,
            probe.serve(process, CollectorRegistry(), list, routes=routes),
        ):
            servers |= {**modbus_servers, **s7_servers, **opcua_servers}
            log.get("simulator").info("serving", devices=len(devices), ports=sorted(servers))
            await stop.wait()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from error
