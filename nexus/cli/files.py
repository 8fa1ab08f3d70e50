"""Commands for device files."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli.device_files import checked, place
from nexus.process.errors import ConfigError


def check(path: Annotated[Path, typer.Argument(metavar="PATH", help="Device file or directory.")]) -> int:
    """List every mistake in device files, with line and fix.

    Warnings are about what works but is hardly intended, such as overlapping tags.

    \b
    Examples:
      nexus check plant.yaml
      nexus check /etc/nexus/devices
    """
    devices, warnings = checked(path)
    for one in devices:
        device = one.device
        print(f"{device.name}: {device.protocol}, {_count(len(one.tag_names), 'tag')} on dev/{device.path}")
    for warning in warnings:
        print(f"warning: {warning}")
    if any(one.device.protocol == "opcua" for one in devices):
        print("note: OPC UA arrays and structures are not read as a whole; name the node of an element or a member")
    tags = sum(len(one.tag_names) for one in devices)
    print(f"ok: {_count(len(devices), 'device')}, {_count(tags, 'tag')}")
    return 0


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="From `nexus export`, Kepware, or columns name,address,…")
    ],
    name: Annotated[str, typer.Option(help="Name of the device.")] = "imported",
    protocol: Annotated[
        Literal["modbus-tcp", "modbus-rtu-tcp", "s7"], typer.Option(help="Protocol of the device.")
    ] = "modbus-tcp",
    host: Annotated[str, typer.Option(help="Host of the device.")] = "192.168.0.1",
) -> int:
    """Turn a CSV file of tags into a device file.

    The options name the device if the file itself does not describe one.

    \b
    Examples:
      nexus import tags.csv > plant-new.yaml
      nexus import kepware.csv --name mixer --host 192.168.1.10 > mixer.yaml
    """
    from gateway.tools.imported import imported

    lines, remarks = imported(file, {"name": name, "protocol": protocol, "host": host})
    print("\n".join(lines))
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0


def export(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Device file or directory; default: NEXUS_DEVICES.")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file; default: standard output.")
    ] = None,
    separator: Annotated[
        Literal[",", ";", "tab"], typer.Option(help="Separates the cells; with ; numbers get decimal commas.")
    ] = ",",
    encoding: Annotated[
        Literal["utf-8", "utf-16", "cp1252"], typer.Option(help="Encoding of the file; Excel opens all three.")
    ] = "utf-8",
) -> int:
    """Write the tags of device files as CSV, for a spreadsheet.

    `nexus import` turns the CSV back into a device file without loss.

    \b
    Examples:
      nexus export plant.yaml --out tags.csv
      nexus export /etc/nexus/devices --separator ";" --encoding cp1252 --out tags.csv
    """
    from gateway.settings import Settings
    from gateway.tools.exported import exported
    from gateway.tools.sheet import encoded
    from nexus.process import settings

    text, remarks = exported(place(path), settings.load(Settings).device_prefix, separator)
    try:
        data = encoded(text, encoding)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    _write(data, out)
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0


def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file; default: standard output.")
    ] = None,
) -> int:
    """Print a JSON Schema for device files, for editors.

    \b
    Examples:
      nexus schema --out nexus.schema.json
    """
    import json

    from gateway.tools.schema import schema

    found, remarks = schema()
    _write(f"{json.dumps(found, indent=2, ensure_ascii=False)}\n".encode(), out)
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0


def _write(data: bytes, out: Path | None) -> None:
    try:
        if out is None:
            sys.stdout.buffer.write(data)
        else:
            out.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{out or 'standard output'}: cannot be written: {error.strerror}") from None
