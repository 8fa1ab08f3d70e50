"""The `nexus` command: parses, then calls."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nexus.commands import devices, historian, services
from nexus.runtime.errors import ConfigError

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

    gateway = _add(commands, "gateway", services.gateway, "poll devices and publish their readings")
    gateway.add_argument("--devices", type=Path, help="device file, or a directory of them (NEXUS_DEVICES)")
    ingest = _add(commands, "ingest", services.ingest, "store what is published")
    ingest.add_argument("--consumers", type=int, default=1, help="so many processes, to use as many cores")
    check = _add(commands, "check", devices.check, "say all that is wrong with device files")
    check.add_argument("path", type=Path, help="device file, or a directory of them")
    simulate = _add(commands, "simulate", services.simulate, "serve simulated devices")
    simulate.add_argument("file", type=Path, nargs="?", help="simulation file; by default the demo's plant")
    simulate.add_argument("--host", help="listen there, whatever the file says")
    _tools(commands)
    _add(commands, "health", services.health, "ask the service in this container whether it is alive")
    secrets = _add(
        commands, "secrets", services.secrets, "check a deployment's secrets, in MQTT_USER_name and SECRET_name"
    )
    secrets.add_argument("--users", type=Path, metavar="FILE", help="users for EMQX (.json), else Mosquitto")

    database = _add(commands, "db", historian.migrate, "the historian's schema").add_subparsers(
        metavar="COMMAND", required=True
    )
    migrate = _add(database, "migrate", historian.migrate, "bring the schema, its policies and roles up to date")
    migrate.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="for a database that is starting")
    _add(database, "status", historian.status, "say what the database is and has")
    _add(database, "monitor", historian.monitor, "serve the database's own metrics")
    _add(database, "refresh", historian.refresh, "after history was loaded: bring it into the rollups and topics")
    backup = _add(database, "backup", historian.backup, "dump the database, while everything goes on")
    backup.add_argument("to", type=Path, help="file, or a folder that each dump gets a file in")
    backup.add_argument("--keep", type=int, metavar="N", help="in a folder: only the newest N stay")
    restore = _add(database, "restore", historian.restore, "load a dump into an empty database")
    restore.add_argument("file", type=Path)
    _rejects(commands)
    _sizing(commands)
    demo = _add(commands, "demo", services.demo, "run everything on embedded parts, and show what flows")
    demo.add_argument("--seconds", type=float, help="stop by itself, and fail if a device has no rows")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave the data and the logs there")
    return parser


def _rejects(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    rejects = _add(commands, "rejects", historian.list_rejects, "what could not be stored").add_subparsers(
        metavar="COMMAND", required=True
    )
    for name, command, text in (
        ("list", historian.list_rejects, "show the newest, and how many there are by reason"),
        ("retry", historian.retry_rejects, "decode and store again, after a fix of the decoders or the schema"),
        ("purge", historian.purge_rejects, "throw away"),
    ):
        one = _add(rejects, name, command, text)
        one.add_argument("--topic", help="only of topics like this; * stands for anything")
        one.add_argument("--reason", help="only with this text in the reason")
        one.add_argument("--older-than", metavar="AGE", help="only older ones; like 12h or 30d")
        if name == "list":
            one.add_argument("--limit", type=int, default=20)
        if name == "purge":
            one.add_argument("--all", action="store_true", help="all of them")


def _sizing(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    load = _add(commands, "load", historian.load, "publish counters at a set rate, as a plant of a given size would")
    load.add_argument("--publish", choices=("tag", "device"), default="device", help="a message a tag, or a scan")
    load.add_argument("--devices", type=int, default=100)
    load.add_argument("--tags", type=int, default=100, help="of each device")
    load.add_argument("--rate", type=float, default=10_000, help="points a second; 0: as many as possible")
    load.add_argument("--seconds", type=float, help="stop by itself")
    load.add_argument("--points", type=int, help="stop after so many")
    load.add_argument("--path", help="of the devices; default: load/ and a random name")
    load.add_argument("--wait", type=float, default=60, help="seconds for the confirmation of what was sent last")
    load.add_argument("--out", type=Path, default=Path("load.json"), help="what was sent, for `nexus verify`")
    verify = _add(commands, "verify", historian.verify, "compare the table with what a load has sent")
    verify.add_argument("file", type=Path, nargs="?", default=Path("load.json"))
    verify.add_argument("--wait", type=float, default=30, help="seconds without progress until what lacks is missing")


def _tools(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, command, text in (
        ("read", devices.read, "read a device once"),
        ("write", devices.write, "write one tag of a device, and read it back"),
        ("plan", devices.plan, "show each request of a device's read plan"),
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
    probe = _add(commands, "probe", devices.probe, "show Modbus registers as every type in every order")
    probe.add_argument("host")
    probe.add_argument("address", help="like holding:40001")
    probe.add_argument("--port", type=int, default=502)
    probe.add_argument("--unit", type=int, default=1)
    probe.add_argument("--addressing", choices=("modicon", "zero", "one"), default="modicon")
    probe.add_argument("--expect", type=float, help="what the device itself shows now")
    importing = _add(
        commands, "import", devices.import_, "turn a CSV file of tags (Kepware's, or generic) into a device file"
    )
    importing.add_argument("file", type=Path)
    importing.add_argument("--name", default="imported", help="name of the device")
    importing.add_argument("--protocol", default="modbus-tcp", choices=("modbus-tcp", "modbus-rtu-tcp", "s7"))
    importing.add_argument("--host", default="192.168.0.1")
    browse = _add(commands, "browse", devices.browse, "print a device file of what an OPC UA server has")
    browse.add_argument("endpoint", help="like opc.tcp://192.168.1.30:4840")
    browse.add_argument("--username")
    browse.add_argument("--password-file", type=Path)
    browse.add_argument("--policy", default="None", help="None, Basic256Sha256, …")
    browse.add_argument("--mode", default="SignAndEncrypt", help="of a policy: Sign or SignAndEncrypt")
    browse.add_argument("--insecure-password", action="store_true", help="send it although the policy is None")
    browse.add_argument("--most", type=int, default=5000, help="stop after so many variables")
    opcua = _add(commands, "opcua", devices.certificate, "OPC UA certificates").add_subparsers(
        metavar="COMMAND", required=True
    )
    certificate = _add(opcua, "cert", devices.certificate, "show our own certificate; made if there is none")
    certificate.add_argument("--new", action="store_true", help="make a new one")
    certificate.add_argument("--out", type=Path, help="export it there, as DER")
    trust = _add(opcua, "trust", devices.trust, "show a server's certificate, and trust it")
    trust.add_argument("endpoint", help="like opc.tcp://192.168.1.30:4840")
    trust.add_argument("--fingerprint", help="trust it if its SHA-256 is this")


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser
