"""Serves the devices of a simulation file."""

import asyncio
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nexus.runtime import log, probe, settings
from nexus.runtime.errors import ConfigError
from simulators import modbus


class Plant(BaseModel):
    """A simulation file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    devices: list[modbus.Device] = Field(min_length=1)


def load(file: Path) -> Plant:
    """Reads a simulation file. Raises ConfigError, a line for each thing that is wrong."""
    try:
        return Plant.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: this is not YAML: {error}") from None
    except ValidationError as error:
        lines = [f"{file}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


async def serve(stop: asyncio.Event, file: Path, host: str | None) -> None:
    """Serves until `stop` is set; on `host`, if given, whatever the file says.

    Raises ConfigError when the file is wrong or a port is taken.
    """
    process = settings.load(settings.Process)
    devices = load(file).devices
    if host is not None:
        devices = [device.model_copy(update={"host": host}) for device in devices]
    try:
        async with (
            probe.serve(process.health_host, process.health_port, CollectorRegistry(), list),
            modbus.serve(devices) as servers,
        ):
            log.get("simulator").info("serving", devices=len(devices), ports=sorted(servers))
            await stop.wait()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from error
