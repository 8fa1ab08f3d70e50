"""Serves the devices of a simulation file."""

import asyncio
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nexus.runtime import log
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


async def serve(stop: asyncio.Event, file: Path) -> None:
    """Serves until `stop` is set. Raises ConfigError when the file is wrong or a port is taken."""
    plant = load(file)
    try:
        async with modbus.serve(plant.devices) as servers:
            log.get("simulator").info("serving", devices=len(plant.devices), ports=sorted(servers))
            await stop.wait()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from error
