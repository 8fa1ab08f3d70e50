"""OPC UA read plans: nodes in calls of so many. Pure."""

from gateway.drivers.driver import Device, Request
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.settings import Settings

LARGEST_BATCH = 1000  # where the server names no limit


def requests(device: Device[Settings, Address]) -> list[Request]:
    """The read plan, as far as it is known without the server's limits."""
    settings = device.settings
    size = settings.batch or LARGEST_BATCH
    found = []
    for interval in sorted({tag.interval for tag in device.tags}):
        names = [tag.name for tag in device.tags if tag.interval == interval]
        verb = "monitor" if settings.mode == "subscribe" else "read"
        for at in range(0, len(names), size):
            part = tuple(names[at : at + size])
            found.append(Request(f"{verb} {len(part)} nodes", part, len(part), 0, "nodes", interval))
    return found
