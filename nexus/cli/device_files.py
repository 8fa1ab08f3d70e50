"""The device files that a command is about, and what a shell completes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config.devices import ConfiguredDevice

DevicesOption = Annotated[
    Path | None, typer.Option("--devices", metavar="PATH", help="Device file or directory; default: NEXUS_DEVICES.")
]


def place(given: Path | None) -> Path:
    """Where the device files are: as given, or as the environment says. Raises ConfigError."""
    from gateway.settings import Settings
    from nexus.process import settings

    if (path := given or settings.load(Settings).devices) is None:
        raise ConfigError("no device file: give --devices PATH, or set NEXUS_DEVICES")
    return path


def loaded(path: Path) -> "tuple[ConfiguredDevice, ...]":
    """The devices of the files. Raises ConfigError."""
    return checked(path)[0]


def checked(path: Path) -> "tuple[tuple[ConfiguredDevice, ...], list[str]]":
    """The devices of the files, and warnings of what is hardly meant. Raises ConfigError."""
    from gateway.config.devices import read
    from gateway.settings import Settings
    from nexus.config.diagnostics import Diagnostics
    from nexus.process import settings

    diagnostics = Diagnostics()
    _, devices = read(path, prefix=settings.load(Settings).device_prefix, diagnostics=diagnostics)
    return devices, [str(warning) for warning in diagnostics.warnings]


def device_names(context: typer.Context, incomplete: str) -> list[str]:
    """For a shell that completes: the devices of the files, or none where these cannot be read."""
    return [one.device.name for one in _completed(context) if one.device.name.startswith(incomplete)]


def tag_names(context: typer.Context, incomplete: str) -> list[str]:
    """For a shell that completes: the tags of the device that is already named."""
    found = [one.device for one in _completed(context) if one.device.name == context.params.get("device")]
    return [tag.name for device in found for tag in device.tags if tag.name.startswith(incomplete)]


def _completed(context: typer.Context) -> "tuple[ConfiguredDevice, ...]":
    given = context.params.get("devices")
    try:
        return loaded(place(Path(given) if given else None))
    except ConfigError:
        return ()
