"""Services, and what asks them."""

import argparse
import os
import sys
from importlib.resources import as_file, files
from urllib.request import urlopen

from nexus.commands import configure_log
from nexus.runtime import settings
from nexus.runtime.errors import ConfigError
from nexus.runtime.run import run


def gateway(parsed: argparse.Namespace) -> int:
    from gateway.service import serve
    from gateway.settings import Settings

    devices = parsed.devices or settings.load(Settings).devices
    if devices is None:
        raise ConfigError("no device file: give --devices PATH, or set NEXUS_DEVICES")
    configure_log("gateway")
    return run(lambda stop: serve(stop, devices))


def ingest(parsed: argparse.Namespace) -> int:
    from ingestion import consumers, service

    configure_log("ingestion")
    if parsed.consumers < 1:
        raise ConfigError("--consumers must be at least 1")
    return run(service.serve if parsed.consumers == 1 else lambda stop: consumers.serve(stop, parsed.consumers))


def simulate(parsed: argparse.Namespace) -> int:
    from simulators.service import serve

    configure_log("simulator")
    with as_file(files("simulators") / "demo/plant.yaml") as demo:
        return run(lambda stop: serve(stop, parsed.file or demo, parsed.host))


def health(_: argparse.Namespace) -> int:
    process = settings.load(settings.Process)
    host, port = process.health_host, process.health_port
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  where it listens everywhere, also here
    try:
        with urlopen(f"http://{f'[{here}]' if ':' in here else here}:{port}/health", timeout=3) as answer:
            print(answer.read().decode())
    except OSError as error:
        print(f"no answer on port {port}: {error}", file=sys.stderr)
        return 1
    return 0


def secrets(parsed: argparse.Namespace) -> int:
    from nexus import credentials

    development = settings.load(settings.Process).environment == "development"
    number = credentials.check(os.environ, development=development, users=parsed.users)
    print(f"ok: {number} secrets")
    return 0


def demo(parsed: argparse.Namespace) -> int:
    try:
        from nexus.demo import demo
    except ModuleNotFoundError as error:
        raise ConfigError(f"the demo needs the package {error.name}: pip install 'nexus-edge[demo]'") from None
    return demo(parsed.seconds, parsed.keep)
