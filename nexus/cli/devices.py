"""Commands that talk to a device, without a gateway or a broker."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli.device_files import DevicesOption, device_names, loaded, place, tag_names
from nexus.cli.running import once
from nexus.process.errors import ConfigError

_DEVICE = typer.Argument(metavar="DEVICE", help="Name of the device.", autocompletion=device_names)
_TAG = typer.Argument(metavar="TAG", help="Name of a `writable` tag.", autocompletion=tag_names)
_TAGS = typer.Argument(metavar="TAG", help="Tags to read; default: all.", autocompletion=tag_names)
DeviceArgument = Annotated[str, _DEVICE]
EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="For example opc.tcp://192.168.1.30:4840.")]


def read(
    device: Annotated[str | None, _DEVICE] = None,
    tags: Annotated[list[str] | None, _TAGS] = None,
    devices: DevicesOption = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Read every device once.")] = False,
) -> int:
    """Read a device once, or all devices with --all.

    The exit code is 1 if a device cannot be read, or a tag is bad.

    \b
    Examples:
      nexus read plc001 --devices plant.yaml
      nexus read plc001 temperature pressure
      nexus read --all
    """
    from gateway.tools import oneshot

    if (device is None) != everything:
        raise ConfigError("name a device, or use --all")
    configured, bad = loaded(place(devices)), list[str]()
    if device is None:
        code = once(oneshot.read_all(configured, bad))
    else:
        code = once(oneshot.read(*oneshot.chosen(configured, device, tags or []), bad))
    return 1 if bad else code


def write(
    device: DeviceArgument,
    tag: Annotated[str, _TAG],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A number, true, false or a string.")],
    devices: DevicesOption = None,
) -> int:
    """Write one tag of a device and read it back.

    \b
    Examples:
      nexus write plc001 setpoint 72.5 --devices plant.yaml
      nexus write plc001 running true
    """
    from gateway.tools import oneshot

    chosen, [found] = oneshot.chosen(loaded(place(devices)), device, [tag])
    return once(oneshot.write(chosen, found, oneshot.value(value)))


def plan(
    device: DeviceArgument,
    devices: DevicesOption = None,
    measure: Annotated[bool, typer.Option("--measure", help="Connect to the device and time its scans.")] = False,
) -> int:
    """Show the requests that a device is read with.

    \b
    Examples:
      nexus plan plc001 --devices plant.yaml
      nexus plan plc001 --measure
    """
    from gateway.tools import oneshot, plan

    chosen, _ = oneshot.chosen(loaded(place(devices)), device)
    print("\n".join(plan.plan(chosen)))
    return once(plan.measured(chosen)) if measure else 0


def probe(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Host name or address of the device.")],
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="For example holding:40001.")],
    *,
    port: Annotated[int, typer.Option(help="Port of the device.")] = 502,
    unit: Annotated[int, typer.Option(help="Unit id of the device.")] = 1,
    addressing: Annotated[
        Literal["modicon", "zero", "one"], typer.Option(help="What the number in ADDRESS counts from.")
    ] = "modicon",
    expect: Annotated[float | None, typer.Option(help="The value that the device itself shows.")] = None,
) -> int:
    """Show Modbus registers as every type and word order.

    \b
    Examples:
      nexus probe 192.168.1.10 holding:40001
      nexus probe 192.168.1.10 input:30001 --unit 3 --expect 229.0
    """
    from gateway.config.devices import checked
    from gateway.drivers.modbus.settings import TcpSettings
    from gateway.tools.probe import probe

    keys = {"host": host, "port": port, "unit": unit, "addressing": addressing}
    return once(probe(checked(TcpSettings, keys), address, 3.0, expect))


def browse(
    endpoint: EndpointArgument,
    *,
    username: Annotated[str | None, typer.Option(help="User name; default: anonymous.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the password.")] = None,
    policy: Annotated[str, typer.Option(help="Security policy: None, Basic256Sha256, …")] = "None",
    mode: Annotated[str, typer.Option(help="With a policy: Sign or SignAndEncrypt.")] = "SignAndEncrypt",
    insecure_password: Annotated[
        bool, typer.Option("--insecure-password", help="Send the password in clear text if the policy is None.")
    ] = False,
    most: Annotated[int, typer.Option(help="Stop after this many variables.")] = 5000,
) -> int:
    """Print a device file with all variables of an OPC UA server.

    \b
    Examples:
      nexus browse opc.tcp://192.168.1.30:4840 > press.yaml
      nexus browse opc.tcp://192.168.1.30:4840 --policy Basic256Sha256 --username operator --password-file secret
    """
    from gateway.config.devices import checked
    from gateway.drivers.opcua.settings import Settings
    from gateway.tools.browse import browse

    keys = {
        "endpoint": endpoint,
        "security": {"policy": policy, "mode": mode},
        "username": username,
        "password_file": password_file,
        "insecure_password": insecure_password,
    }
    return once(browse(checked(Settings, keys), 10.0, most))


opcua = typer.Typer(
    no_args_is_help=True,
    help="Show our OPC UA certificate, and trust servers'.\n\n\b\nExamples:\n"
    "  nexus opcua cert\n  nexus opcua trust opc.tcp://192.168.1.30:4840",
)


@opcua.command("cert")
def certificate(
    new: Annotated[bool, typer.Option("--new", help="Create a new one.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Export it to this file (DER).")] = None,
) -> int:
    """Show our own certificate, and create it if there is none.

    \b
    Examples:
      nexus opcua cert
      nexus opcua cert --out nexus.der
    """
    from gateway.tools.browse import certificate

    print("\n".join(certificate(new, out)))
    return 0


@opcua.command("trust")
def trust(
    endpoint: EndpointArgument,
    fingerprint: Annotated[str | None, typer.Option(help="Trust it if its SHA-256 fingerprint is this.")] = None,
) -> int:
    """Show a server's certificate, or trust it by its fingerprint.

    \b
    Examples:
      nexus opcua trust opc.tcp://192.168.1.30:4840
      nexus opcua trust opc.tcp://192.168.1.30:4840 --fingerprint 3F:A2:…
    """
    from gateway.config.devices import checked
    from gateway.drivers.opcua.settings import Settings
    from gateway.tools.browse import trust

    checked(Settings, {"endpoint": endpoint})
    return once(trust(endpoint, 10.0, fingerprint))
