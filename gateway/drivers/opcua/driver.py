"""OPC UA: by subscription, or polled in batches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncua import ua

from gateway.drivers.driver import Device, DeviceSession, Driver
from gateway.drivers.opcua import address as opcua_address
from gateway.drivers.opcua import security as opcua_security
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.client import explained, session
from gateway.drivers.opcua.plan import LARGEST_BATCH, requests
from gateway.drivers.opcua.session import Profile, Session
from gateway.drivers.opcua.settings import Settings
from gateway.drivers.opcua.subscription import Subscription


def parse_address(text: str, _: Settings, writable: bool = False) -> Address:  # noqa: ARG001  the server tells
    """Reads `ns=2;s=Press.Force` and its like. Raises ValueError that says what would be right."""
    return opcua_address.parse(text)


@asynccontextmanager
async def connect(device: Device[Settings, Address]) -> AsyncIterator[DeviceSession[Address]]:
    """A session with one server; in subscribe mode it reports changes. Raises DeviceError."""
    settings = device.settings
    asked = min(len(device.tags), settings.batch or LARGEST_BATCH)
    async with session(settings, device.timeout, asked, len(device.tags) * settings.queue) as client:
        made = Session(client, device, settings.clock)
        try:
            await made.prepare(Profile(settings.profile), settings.batch)
            if settings.mode == "subscribe":
                subscription = Subscription(made)
                await subscription.subscribe(settings.sampling, settings.queue)
        except (ua.UaError, OSError) as error:
            raise explained(error, settings) from error
        next_changes = subscription.next_changes if settings.mode == "subscribe" else None
        left = _certificate_days(settings)
        yield DeviceSession(
            made.compile, made.write, next_changes, made.tag_errors, certificate_days=left, tag_kinds=made.tag_kinds
        )


def _certificate_days(settings: Settings) -> float | None:
    if settings.security.policy == "None":
        return None
    return opcua_security.days_left(opcua_security.load(settings.security.certificate or opcua_security.own()[0]))


DRIVER: Driver[Settings, Address] = Driver(
    settings={"opcua": Settings},
    parse_address=parse_address,
    connect=connect,
    requests=requests,
    endpoint=lambda settings: settings.endpoint,
    address_pattern=opcua_address.PATTERN,
    address_examples=("ns=2;s=Press.Force", "ns=3;i=1001", "nsu=urn:vendor:press;s=Force"),
)
