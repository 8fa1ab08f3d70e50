"""The `nexus` command: parses, then calls."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from nexus.runtime import log, settings
from nexus.runtime.errors import ConfigError
from nexus.runtime.run import run

if TYPE_CHECKING:
    from gateway.config import Configured

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 2 bad usage or configuration, 1 anything else."""
    parsed = _parser().parse_args(arguments)
    try:
        code = parsed.command(parsed)
    except ConfigError as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 1
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nexus", description="PLCs to MQTT to TimescaleDB.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    gateway = _add(commands, "gateway", _gateway, "poll devices and publish their readings")
    gateway.add_argument("--devices", type=Path, help="device file, or a directory of them (NEXUS_DEVICES)")
    _add(commands, "ingest", _ingest, "store what is published")
    check = _add(commands, "check", _check, "say all that is wrong with device files")
    check.add_argument("path", type=Path, help="device file, or a directory of them")
    simulate = _add(commands, "simulate", _simulate, "serve simulated devices")
    simulate.add_argument("file", type=Path, help="simulation file")
    simulate.add_argument("--host", help="listen there, whatever the file says")
    _tools(commands)
    _add(commands, "health", _health, "ask the service in this container whether it is alive")

    database = _add(commands, "db", _migrate, "the historian's schema").add_subparsers(metavar="COMMAND", required=True)
    _add(database, "migrate", _migrate, "bring the schema, its policies and roles up to date")
    _add(database, "status", _status, "say what the database is and has")

    demo = _add(commands, "demo", _demo, "run everything on embedded parts, and show what flows")
    demo.add_argument("--seconds", type=float, help="stop by itself, and fail if a device has no rows")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave the data and the logs there")
    return parser


def _tools(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, command, text in (
        ("read", _read, "read a device once"),
        ("write", _write, "write one tag of a device, and read it back"),
        ("plan", _plan, "show each request of a device's read plan"),
    ):
        tool = _add(commands, name, command, text)
        tool.add_argument("device", help="name of the device")
        tool.add_argument("--devices", type=Path, help="device file, or a directory of them (NEXUS_DEVICES)")
        if name == "plan":
            tool.add_argument("--measure", action="store_true", help="connect, and measure the scans")
        else:
            tool.add_argument("tag", nargs="*" if name == "read" else None, help="name of a tag")
        if name == "write":
            tool.add_argument("value", help="a number, true, false or a text")
    probe = _add(commands, "probe", _probe, "show Modbus registers as every type in every order")
    probe.add_argument("host")
    probe.add_argument("address", help="like holding:40001")
    probe.add_argument("--port", type=int, default=502)
    probe.add_argument("--unit", type=int, default=1)
    probe.add_argument("--addressing", choices=("modicon", "zero", "one"), default="modicon")
    probe.add_argument("--expect", type=float, help="what the device itself shows now")
    importing = _add(commands, "import", _import, "turn a CSV file of tags (Kepware's, or generic) into a device file")
    importing.add_argument("file", type=Path)
    importing.add_argument("--name", default="imported", help="name of the device")
    importing.add_argument("--protocol", default="modbus-tcp", choices=("modbus-tcp", "modbus-rtu-tcp", "s7"))
    importing.add_argument("--host", default="192.168.0.1")
    browse = _add(commands, "browse", _browse, "print a device file of what an OPC UA server has")
    browse.add_argument("endpoint", help="like opc.tcp://192.168.1.30:4840")
    browse.add_argument("--username")
    browse.add_argument("--password-file", type=Path)
    browse.add_argument("--policy", default="None", help="None, Basic256Sha256, …")
    browse.add_argument("--most", type=int, default=5000, help="stop after so many variables")
    opcua = _add(commands, "opcua", _certificate, "OPC UA certificates").add_subparsers(
        metavar="COMMAND", required=True
    )
    certificate = _add(opcua, "cert", _certificate, "show our own certificate; made if there is none")
    certificate.add_argument("--new", action="store_true", help="make a new one")
    certificate.add_argument("--out", type=Path, help="export it there, as DER")
    trust = _add(opcua, "trust", _trust, "show a server's certificate, and trust it")
    trust.add_argument("endpoint", help="like opc.tcp://192.168.1.30:4840")
    trust.add_argument("--fingerprint", help="trust it if its SHA-256 is this")


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _configure_log(service: str) -> None:
    process = settings.load(settings.Process)
    log.configure(service, process.log_level, process.log_format)


# Services are imported when they are called for: each brings libraries that the others do without.


def _gateway(parsed: argparse.Namespace) -> int:
    from gateway.service import serve  # noqa: PLC0415
    from gateway.settings import Settings  # noqa: PLC0415

    devices = parsed.devices or settings.load(Settings).devices
    if devices is None:
        raise ConfigError("no device file: give --devices PATH, or set NEXUS_DEVICES")
    _configure_log("gateway")
    return run(lambda stop: serve(stop, devices))


def _ingest(_: argparse.Namespace) -> int:
    from ingestion.service import serve  # noqa: PLC0415

    _configure_log("ingestion")
    return run(serve)


def _check(parsed: argparse.Namespace) -> int:
    from gateway.config import load  # noqa: PLC0415

    devices = load(parsed.path)
    for one in devices:
        device = one.device
        print(f"{device.name}: {device.protocol}, {len(device.tags)} tags on dev/{device.path}")
    if any(one.device.protocol == "opcua" for one in devices):
        print("note: OPC UA arrays and structures are not read as a whole; name the node of an element or a member")
    print(f"ok: {len(devices)} devices, {sum(len(one.device.tags) for one in devices)} tags")
    return 0


def _simulate(parsed: argparse.Namespace) -> int:
    from simulators.service import serve  # noqa: PLC0415

    _configure_log("simulator")
    return run(lambda stop: serve(stop, parsed.file, parsed.host))


def _devices(parsed: argparse.Namespace) -> "tuple[Configured, ...]":
    from gateway.config import load  # noqa: PLC0415
    from gateway.settings import Settings  # noqa: PLC0415

    if (path := parsed.devices or settings.load(Settings).devices) is None:
        raise ConfigError("no device file: give --devices PATH, or set NEXUS_DEVICES")
    return load(path)


def _once(work: Coroutine[object, object, list[str]]) -> int:
    """Does a tool's work and prints what it gives; 1 when the device is not to be had."""
    from gateway.driver import DeviceError, WriteError  # noqa: PLC0415

    log.configure("tool", "warning", "console")
    try:
        print("\n".join(asyncio.run(work)))
    except (DeviceError, WriteError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _read(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot  # noqa: PLC0415

    return _once(oneshot.read(*oneshot.chosen(_devices(parsed), parsed.device, parsed.tag)))


def _write(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot  # noqa: PLC0415

    device, [tag] = oneshot.chosen(_devices(parsed), parsed.device, [parsed.tag])
    return _once(oneshot.write(device, tag, oneshot.value(parsed.value)))


def _plan(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot, plan  # noqa: PLC0415

    device, _ = oneshot.chosen(_devices(parsed), parsed.device)
    print("\n".join(plan.plan(device)))
    return _once(plan.measured(device)) if parsed.measure else 0


def _probe(parsed: argparse.Namespace) -> int:
    from gateway.drivers.modbus import TcpSettings  # noqa: PLC0415
    from gateway.tools.probe import probe  # noqa: PLC0415

    where = TcpSettings(host=parsed.host, port=parsed.port, unit=parsed.unit, addressing=parsed.addressing)
    return _once(probe(where, parsed.address, 3.0, parsed.expect))


def _import(parsed: argparse.Namespace) -> int:
    from gateway.tools.imported import imported  # noqa: PLC0415

    device = {"name": parsed.name, "protocol": parsed.protocol, "host": parsed.host}
    print("\n".join(imported(parsed.file, device)))
    return 0


def _browse(parsed: argparse.Namespace) -> int:
    from gateway.drivers.opcua import Settings  # noqa: PLC0415
    from gateway.tools.browse import browse  # noqa: PLC0415

    security = {"policy": parsed.policy}
    keys = {"username": parsed.username, "password_file": parsed.password_file, "security": security}
    return _once(browse(Settings.model_validate({"endpoint": parsed.endpoint, **keys}), 10.0, parsed.most))


def _certificate(parsed: argparse.Namespace) -> int:
    from gateway.tools.browse import certificate  # noqa: PLC0415

    print("\n".join(certificate(parsed.new, parsed.out)))
    return 0


def _trust(parsed: argparse.Namespace) -> int:
    from gateway.tools.browse import trust  # noqa: PLC0415

    return _once(trust(parsed.endpoint, 10.0, parsed.fingerprint))


def _health(_: argparse.Namespace) -> int:
    port = settings.load(settings.Process).health_port
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            print(answer.read().decode())
    except OSError as error:
        print(f"no answer on port {port}: {error}", file=sys.stderr)
        return 1
    return 0


def _migrate(_: argparse.Namespace) -> int:
    from db import settings as db_settings  # noqa: PLC0415
    from db.migrate import connect, migrate, tier  # noqa: PLC0415

    own = db_settings.load(settings.load(settings.Process).environment)
    with connect(own.database_url) as connection:
        done = migrate(connection, own)
        for name in done:
            print(f"applied {name}")
        print(f"the schema is up to date (tier: {tier(connection)})")
    return 0


def _status(_: argparse.Namespace) -> int:
    from db import settings as db_settings  # noqa: PLC0415
    from db.migrate import connect  # noqa: PLC0415
    from db.status import status  # noqa: PLC0415

    own = db_settings.load(settings.load(settings.Process).environment)
    with connect(own.database_url) as connection:
        rows, newest = status(connection)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return 0 if newest else 1


def _demo(parsed: argparse.Namespace) -> int:
    try:
        from nexus.demo import demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"the demo needs the package {error.name}: pip install 'nexus-edge[demo]'") from None
    return demo(parsed.seconds, parsed.keep)
