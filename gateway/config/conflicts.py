"""Conflicts between devices that are each valid: topics that collide, and lines with too much to carry."""

from collections.abc import Sequence

from gateway import drivers
from gateway.drivers.driver import Device, Driver
from nexus.config.location import SourceLocation

Checked = Sequence[tuple[SourceLocation, Device, Driver]]


def refuse_doubles(locations: Sequence[SourceLocation]) -> None:
    """Reports devices that share a name or path, whatever else is wrong with them."""
    names: dict[str, SourceLocation] = {}
    paths: dict[str, str] = {}
    for location in locations:
        name = location.block.get("name")
        path = location.block.get("path") or name
        if not isinstance(name, str) or not isinstance(path, str):
            continue
        if name in names:
            other = names[name].block
            location.fault("name", f"name already used at {other.file}:{other.line}: rename one")
        elif path in paths:
            location.fault("path", f"path {path!r} is also that of device {paths[path]}: change one")
        names.setdefault(name, location)
        paths.setdefault(path, name)


def refuse_twins(devices: Sequence[tuple[SourceLocation, Device, Sequence[str]]]) -> None:
    """Reports tags whose topic is another device's. Each device comes with all its tags' names, derived ones too."""
    paths = {device.path: device for _, device, _ in devices}
    # Only below a device's path can a tag have the topic of another device.
    above = {path.rpartition("/")[0] for path in paths}
    for location, device, names in devices:
        if device.path not in above:
            continue
        for name in names:
            if (twin := paths.get(f"{device.path}/{name}")) is not None:
                location.fault("tags", f"tag {name} has the topic of device {twin.name}: rename the tag or that path")


def refuse_impossible(devices: Checked) -> None:
    """Reports lines whose requests take longer than the interval, where their time is known."""
    load: dict[str | int, float] = {}  # by line; a device without a shared line has its own
    for index, (location, device, driver) in enumerate(devices):
        try:
            needed = sum((request.seconds or 0) / request.interval for request in driver.requests(device))
            line = driver.bus(device.settings)
        except Exception as error:  # a fault in a driver affects its device only
            location.fault(None, drivers.unchecked(device.protocol, error))
            continue
        before = load.get(line or index, 0.0)
        load[line or index] = before + needed
        if before <= 1 < before + needed:
            share = f"{(before + needed) * 100:.0f} %"
            busy = f"with the devices before it, {line} is busy {share} of the time" if line else f"takes {share} of it"
            location.fault(
                "interval",
                f"polling does not fit into its interval: {busy}; poll less often, or fewer tags "
                "(`nexus plan` shows each request)",
            )
