"""One module a protocol family. A driver is a module: see gateway/driver.py."""

from importlib import import_module
from typing import cast

from gateway.driver import Driver
from nexus.runtime import extras
from nexus.runtime.errors import ConfigError

# Each `protocol:` of a device file, and the module that speaks it. Imported when first used.
FAMILIES = {
    "modbus-tcp": "modbus",
    "modbus-rtu": "modbus",
    "modbus-rtu-tcp": "modbus",
    "opcua": "opcua",
    "s7": "s7",
}


def load(protocol: str) -> Driver:
    """The driver of a protocol. Raises KeyError for one that there is none for, and ConfigError without its extra."""
    try:
        return cast(Driver, import_module(f"gateway.drivers.{FAMILIES[protocol]}"))
    except ModuleNotFoundError as error:
        if (said := extras.missing(error)) is None:
            raise
        raise ConfigError(f"protocol {protocol} {said}") from None
