"""Drivers of other packages: entry points of the group `nexus.drivers`, a protocol's name and its module."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions

from gateway.drivers.driver import Driver
from nexus.process.errors import ConfigError

GROUP = "nexus.drivers"


@dataclass(frozen=True, slots=True)
class Installed:
    """A protocol of a package; `rivals` are others that offer it too."""

    protocol: str
    module: str
    package: str
    rivals: tuple[str, ...] = ()

    def load(self) -> Driver:
        """Imports the driver. Raises ConfigError that names the package, whatever that does."""
        said = f"protocol {self.protocol} of the package {self.package}"
        if self.rivals:
            raise ConfigError(f"{said} is also one of {', '.join(self.rivals)}: uninstall all but one")
        try:
            driver = getattr(import_module(self.module), "DRIVER", None)
        except (Exception, SystemExit) as error:  # foreign code may raise anything: only its own protocol is lost
            raise ConfigError(f"{said} cannot be imported: {error!r:.200}; update or uninstall the package") from None
        if not isinstance(driver, Driver):
            raise ConfigError(f"{said}: its module {self.module} has no `DRIVER`, a gateway.drivers.driver.Driver")
        if self.protocol not in driver.settings:
            raise ConfigError(f"{said}: its DRIVER has no settings for {self.protocol}")
        return driver


@cache
def installed() -> dict[str, Installed]:
    """By protocol. Nothing is imported."""
    found: dict[str, Installed] = {}
    for package, entry in sorted(_entries()):
        if (other := found.get(entry.name)) is None:
            found[entry.name] = Installed(entry.name, entry.module, package)
        elif other.package != package and package not in other.rivals:
            found[entry.name] = Installed(other.protocol, other.module, other.package, (*other.rivals, package))
    return found


def _entries() -> Iterator[tuple[str, EntryPoint]]:
    """Each with the name of its package."""
    return ((name, entry) for one in distributions() for name, entry in _entries_of(one))


def _entries_of(distribution: Distribution) -> list[tuple[str, EntryPoint]]:
    try:
        entries = distribution.entry_points.select(group=GROUP)
        return [(distribution.metadata["Name"] or "?", entry) for entry in entries]
    except Exception:  # its metadata is broken, which pip reports too: skipped
        return []
