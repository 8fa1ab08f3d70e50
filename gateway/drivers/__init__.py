"""One folder a protocol family. A driver is the `DRIVER` of its module: see gateway/drivers/driver.py."""

import sys
from importlib import import_module

from gateway.drivers.driver import Driver
from gateway.drivers.installed import installed
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
    """All protocols: ours, then those of other packages, which cannot replace ours."""
    return tuple(BUILT_IN | dict.fromkeys(installed()))


def is_loaded(protocol: str) -> bool:
    """Whether its module was imported, which takes up to half a second."""
    if (module := BUILT_IN.get(protocol)) is None and (other := installed().get(protocol)) is not None:
        module = other.module
    return module in sys.modules


def load(protocol: str) -> Driver:
    """The driver of a protocol. Raises ConfigError without its package or extra, and if the package is broken."""
    if (module := BUILT_IN.get(protocol)) is None:
        if protocol not in installed():
            installed.cache_clear()  # it may have been installed while we ran
        if (other := installed().get(protocol)) is None:
            raise ConfigError(f"no package offers protocol {protocol}")
        return other.load()
    try:
        driver = import_module(module).DRIVER
    except ModuleNotFoundError as error:
        if (said := extras.missing(error)) is None:
            raise
        raise ConfigError(f"protocol {protocol} {said}") from None
    assert isinstance(driver, Driver)
    return driver


def unchecked(protocol: object, error: Exception) -> str:
    """The message for a device whose check failed with an unexpected error."""
    other = None if protocol in BUILT_IN else installed().get(str(protocol))
    whose = "the program, please report it" if other is None else f"the package {other.package}, please report it there"
    return f"cannot be checked: {error!r:.200}; this is a fault of {whose}"


def whose(protocol: str) -> str:
    """The driver at fault, for error messages: ours, or another package's."""
    if protocol in BUILT_IN or (other := installed().get(protocol)) is None:
        return "the driver"
    return f"the driver of the package {other.package}"
