"""One folder a protocol family. A driver is the `DRIVER` of its module: see gateway/drivers/driver.py."""

import sys
from importlib import import_module

from gateway.drivers.driver import Driver
from nexus.process import extras
from nexus.process.errors import ConfigError

# Each `protocol:` of a device file, and the module that speaks it. Imported when first used.
BUILT_IN = {
    "modbus-tcp": "gateway.drivers.modbus.driver",
    "modbus-rtu": "gateway.drivers.modbus.driver",
    "modbus-rtu-tcp": "gateway.drivers.modbus.driver",
    "opcua": "gateway.drivers.opcua.driver",
    "s7": "gateway.drivers.s7.driver",
}


def names() -> tuple[str, ...]:
    """Every protocol there is."""
    return tuple(BUILT_IN)


def is_loaded(protocol: str) -> bool:
    """Whether its module was imported, which takes up to half a second."""
    return BUILT_IN[protocol] in sys.modules


def load(protocol: str) -> Driver:
    """The driver of a protocol. Raises KeyError for one that there is none for, and ConfigError without its extra."""
    try:
        driver = import_module(BUILT_IN[protocol]).DRIVER
    except ModuleNotFoundError as error:
        if (said := extras.missing(error)) is None:
            raise
        raise ConfigError(f"protocol {protocol} {said}") from None
    assert isinstance(driver, Driver)
    return driver
