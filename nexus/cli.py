"""The `nexus` command: parses, then calls."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.request import urlopen

from nexus.runtime import log, settings
from nexus.runtime.errors import ConfigError
from nexus.runtime.run import run

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
    _add(commands, "health", _health, "ask the service in this container whether it is alive")

    database = _add(commands, "db", _migrate, "the historian's schema").add_subparsers(metavar="COMMAND", required=True)
    _add(database, "migrate", _migrate, "bring the schema, its policies and roles up to date")
    _add(database, "status", _status, "say what the database is and has")

    demo = _add(commands, "demo", _demo, "run everything on embedded parts, and show what flows")
    demo.add_argument("--seconds", type=float, help="stop by itself, and fail if a device has no rows")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave the data and the logs there")
    return parser


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
    print(f"ok: {len(devices)} devices, {sum(len(one.device.tags) for one in devices)} tags")
    return 0


def _simulate(parsed: argparse.Namespace) -> int:
    from simulators.service import serve  # noqa: PLC0415

    _configure_log("simulator")
    return run(lambda stop: serve(stop, parsed.file, parsed.host))


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
