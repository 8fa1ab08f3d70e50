"""One folder a protocol family. A driver is its module `driver`: see gateway/drivers/driver.py."""

from importlib import import_module
from typing import cast

from gateway.drivers.driver import Driver
from nexus.process import extras
from nexus.process.errors import ConfigError

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
        return cast(Driver, import_module(f"gateway.drivers.{FAMILIES[protocol]}.driver"))
    except ModuleNotFoundError as error:
        if (said := extras.missing(error)) is None:
            raise
        raise ConfigError(f"protocol {protocol} {said}") from None
