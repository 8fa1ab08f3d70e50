"""Device files, and devices at hand."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

from nexus.runtime import log, settings
from nexus.runtime.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Configured


def check(parsed: argparse.Namespace) -> int:
    devices = _loaded(parsed.path)
    for one in devices:
        device = one.device
        print(f"{device.name}: {device.protocol}, {len(device.tags)} tags on dev/{device.path}")
    if any(one.device.protocol == "opcua" for one in devices):
        print("note: OPC UA arrays and structures are not read as a whole; name the node of an element or a member")
    print(f"ok: {len(devices)} devices, {sum(len(one.device.tags) for one in devices)} tags")
    return 0


def _devices(parsed: argparse.Namespace) -> "tuple[Configured, ...]":
    from gateway.settings import Settings

    if (path := parsed.devices or settings.load(Settings).devices) is None:
        raise ConfigError("no device file: give --devices PATH, or set NEXUS_DEVICES")
    return _loaded(path)


def _loaded(path: Path) -> "tuple[Configured, ...]":
    from gateway.config import load
    from gateway.settings import Settings

    return load(path, prefix=settings.load(Settings).device_prefix)


def _once(work: Coroutine[object, object, list[str]]) -> int:
    """Does a tool's work and prints what it gives; 1 when the device is not to be had."""
    from gateway.driver import DeviceError, WriteError

    log.configure("tool", "warning", "console")
    try:
        print("\n".join(asyncio.run(work)))
    except (DeviceError, WriteError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot

    bad: list[str] = []
    code = _once(oneshot.read(*oneshot.chosen(_devices(parsed), parsed.device, parsed.tag), bad))
    return 1 if bad else code


def write(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot

    device, [tag] = oneshot.chosen(_devices(parsed), parsed.device, [parsed.tag])
    return _once(oneshot.write(device, tag, oneshot.value(parsed.value)))


def plan(parsed: argparse.Namespace) -> int:
    from gateway.tools import oneshot, plan

    device, _ = oneshot.chosen(_devices(parsed), parsed.device)
    print("\n".join(plan.plan(device)))
    return _once(plan.measured(device)) if parsed.measure else 0


def probe(parsed: argparse.Namespace) -> int:
    from gateway.config import checked
    from gateway.drivers.modbus import TcpSettings
    from gateway.tools.probe import probe

    keys = {"host": parsed.host, "port": parsed.port, "unit": parsed.unit, "addressing": parsed.addressing}
    where = checked(TcpSettings, keys)
    return _once(probe(where, parsed.address, 3.0, parsed.expect))


def import_(parsed: argparse.Namespace) -> int:
    from gateway.tools.imported import imported

    device = {"name": parsed.name, "protocol": parsed.protocol, "host": parsed.host}
    lines, remarks = imported(parsed.file, device)
    print("\n".join(lines))
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0


def browse(parsed: argparse.Namespace) -> int:
    from gateway.config import checked
    from gateway.drivers.opcua import Settings
    from gateway.tools.browse import browse

    keys = {
        "endpoint": parsed.endpoint,
        "security": {"policy": parsed.policy, "mode": parsed.mode},
        "username": parsed.username,
        "password_file": parsed.password_file,
        "insecure_password": parsed.insecure_password,
    }
    return _once(browse(checked(Settings, keys), 10.0, parsed.most))


def certificate(parsed: argparse.Namespace) -> int:
    from gateway.tools.browse import certificate

    print("\n".join(certificate(parsed.new, parsed.out)))
    return 0


def trust(parsed: argparse.Namespace) -> int:
    from gateway.config import checked
    from gateway.drivers.opcua import Settings
    from gateway.tools.browse import trust

    checked(Settings, {"endpoint": parsed.endpoint})
    return _once(trust(parsed.endpoint, 10.0, parsed.fingerprint))
