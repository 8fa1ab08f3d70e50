"""Modbus: over TCP, over serial lines, and over converters between the two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.drivers.driver import Device, DeviceSession, Driver, Extent
from gateway.drivers.modbus import address as modbus_address
from gateway.drivers.modbus.address import Address
from gateway.drivers.modbus.line import shared
from gateway.drivers.modbus.plan import requests
from gateway.drivers.modbus.session import Unit
from gateway.drivers.modbus.settings import RtuSettings, RtuTcpSettings, Settings, TcpSettings


def parse_address(text: str, settings: Settings, writable: bool = False) -> Address:
    """Reads `holding:40001:float32` and its like. Raises ValueError that says what would be right."""
    address = modbus_address.parse(text, settings.addressing, settings.word_order, settings.byte_order)
    if writable:
        modbus_address.check_writable(address)
    return address


@asynccontextmanager
async def connect(device: Device[Settings, Address]) -> AsyncIterator[DeviceSession[Address]]:
    """A session with one unit, on a connection that it shares with the others there. Raises DeviceError."""
    async with shared(device.settings.where) as line:
        unit = Unit(line, device)
        try:
            yield DeviceSession(
                unit.compile,
                unit.write,
                tag_errors=unit.tag_errors,
                tag_kinds=unit.tag_kinds,
                waited=unit.timing.seconds_waited,
                rest=unit.rest,
            )
        finally:
            line.turns.left(device.settings.unit)


def bus(settings: Settings) -> str | None:
    """Serial lines carry one request at a time, and each takes its time."""
    return str(settings.where) if isinstance(settings, RtuSettings) else None


def extent(address: Address) -> Extent | None:
    """The registers of a value; bits of one register may well be read beside the whole."""
    if address.bit is not None or address.table in modbus_address.BITS:
        return None
    return Extent(address.table, address.start, address.count)


DRIVER: Driver[Settings, Address] = Driver(
    settings={"modbus-tcp": TcpSettings, "modbus-rtu": RtuSettings, "modbus-rtu-tcp": RtuTcpSettings},
    parse_address=parse_address,
    connect=connect,
    requests=requests,
    bus=bus,
    extent=extent,
    is_number=lambda address: address.type in modbus_address.NUMBERS,
    endpoint=lambda settings: str(settings.where),
    type_of=lambda address: address.type,
    address_pattern=modbus_address.PATTERN,
    address_examples=("holding:40001:float32", "holding:40020.3:bool", "input:30010:string(8)", "coil:1:bool"),
)
