"""Commands for device files."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli.common import loaded


def check(path: Annotated[Path, typer.Argument(metavar="PATH", help="Device file, or a directory of them.")]) -> int:
    """Report every mistake in device files, with line and fix.

    \b
    Examples:
      nexus check plant.yaml
      nexus check /etc/nexus/devices
    """
    devices = loaded(path)
    for one in devices:
        device = one.device
        print(f"{device.name}: {device.protocol}, {len(device.tags)} tags on dev/{device.path}")
    if any(one.device.protocol == "opcua" for one in devices):
        print("note: OPC UA arrays and structures are not read as a whole; name the node of an element or a member")
    print(f"ok: {len(devices)} devices, {sum(len(one.device.tags) for one in devices)} tags")
    return 0


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Kepware's export, or name,address,…")],
    name: Annotated[str, typer.Option(help="Name of the device.")] = "imported",
    protocol: Annotated[
        Literal["modbus-tcp", "modbus-rtu-tcp", "s7"], typer.Option(help="Protocol of the device.")
    ] = "modbus-tcp",
    host: Annotated[str, typer.Option(help="Host of the device.")] = "192.168.0.1",
) -> int:
    """Turn a CSV file of tags into a device file.

    \b
    Examples:
      nexus import tags.csv > plant.yaml
      nexus import kepware.csv --name mixer --host 192.168.1.10 > mixer.yaml
    """
    from gateway.tools.imported import imported

    lines, remarks = imported(file, {"name": name, "protocol": protocol, "host": host})
    print("\n".join(lines))
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0
