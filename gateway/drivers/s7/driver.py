"""Siemens S7: data blocks, markers, inputs and outputs over ISO on TCP (S7-300, 400, 1200, 1500)."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from snap7.async_client import AsyncClient
from snap7.error import S7Error

from gateway.drivers import reach
from gateway.drivers.driver import Device, DeviceError, DeviceSession, Driver, Extent, Request
from gateway.drivers.s7 import address as s7_address
from gateway.drivers.s7.address import Address
from gateway.drivers.s7.plan import described
from gateway.drivers.s7.session import Plc
from gateway.drivers.s7.settings import Settings

_CONNECTIONS = {"pg": 1, "op": 2, "basic": 3}
_LARGEST_PDU = 960  # asked for; the PLC grants what it has: 240 (S7-300, 1200), 480, 960 (1500)

# The library logs what it also raises.
logging.getLogger("snap7").setLevel(logging.CRITICAL)


def parse_address(text: str, _: Settings, writable: bool = False) -> Address:
    """Reads `DB1.DBD0:REAL` and its like. Raises ValueError that says what would be right."""
    address = s7_address.parse(text)
    if writable:
        s7_address.check_writable(address)
    return address


@asynccontextmanager
async def connect(device: Device[Settings, Address]) -> AsyncIterator[DeviceSession[Address]]:
    """A session with one PLC, with the PDU size that it grants. Raises DeviceError."""
    settings = device.settings
    client = AsyncClient()
    client.connection_type = _CONNECTIONS[settings.connection]
    client.pdu_length = _LARGEST_PDU
    try:
        try:
            await client.connect(settings.host, settings.rack, settings.slot, settings.port)
        except S7Error as error:
            raise _unconnected(settings, error) from error
        plc = Plc(client, device)
        yield DeviceSession(plc.compile, plc.write, tag_errors=plc.tag_errors, tag_kinds=plc.tag_kinds)
    finally:
        with suppress(OSError, S7Error, TimeoutError):
            async with asyncio.timeout(1):
                await client.disconnect()


def requests(device: Device[Settings, Address]) -> list[Request]:
    """The read plan, in the PDUs of the smallest PLCs."""
    return described(device.tags, device.settings.gap)


def extent(address: Address) -> Extent | None:
    """The bytes of a value; bits may well be read beside the whole."""
    return None if address.type == "BOOL" else Extent(address.space, address.start, address.count)


def _unconnected(settings: Settings, error: S7Error) -> DeviceError:
    where = f"no connection to {settings.host}:{settings.port}"
    if "closed by peer" in str(error):
        return DeviceError(
            f"{where}: the PLC hung up: are rack {settings.rack} and slot {settings.slot} right (S7-300: slot 2, "
            "S7-1200 and 1500: slot 1 or 0), and has it a connection left?",
            kind="closed",
        )
    return DeviceError(f"{where}: {reach.reason(error) or error}", kind=reach.kind(error))


DRIVER: Driver[Settings, Address] = Driver(
    settings={"s7": Settings},
    parse_address=parse_address,
    connect=connect,
    requests=requests,
    extent=extent,
    is_number=lambda address: address.type in s7_address.NUMBERS,
    endpoint=lambda settings: f"{settings.host}:{settings.port}",
    type_of=lambda address: address.type,
    address_pattern=s7_address.PATTERN,
    address_examples=("DB1.DBD0:REAL", "DB1.DBX4.0:BOOL", "DB1.DBB10:STRING(16)", "MW20:INT"),
)
