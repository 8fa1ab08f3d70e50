"""Commands that run a service, or look after one."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli.device_files import DevicesOption, place
from nexus.cli.running import configure_log
from nexus.process.errors import ConfigError


def gateway(devices: DevicesOption = None) -> int:
    """Poll devices and publish their readings.

    \b
    Examples:
      nexus gateway --devices plant.yaml
      NEXUS_MQTT_URL=mqtt://broker:1883 nexus gateway --devices /etc/nexus/devices
    """
    from gateway.service import serve
    from nexus.process.run import run

    path = place(devices)
    configure_log("gateway")
    return run(lambda stop: serve(stop, path))


def ingest() -> int:
    """Store published readings in the database.

    Run several to share the load: each message goes to one of them. On one machine, each needs a health port of its
    own, different from a gateway's 8081.

    \b
    Examples:
      NEXUS_DATABASE_URL=postgresql://postgres:secret@db/nexus NEXUS_HEALTH_PORT=8091 nexus ingest
      NEXUS_HEALTH_PORT=8092 nexus ingest
    """
    from ingestion.service import serve
    from nexus.process.run import run

    configure_log("ingestion")
    return run(serve)


def simulate(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Simulation file; default: the demo's.")] = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address instead of the file's.")] = None,
) -> int:
    """Serve simulated devices.

    Faults are turned on and off on its health port: 8089, unless NEXUS_HEALTH_PORT names another.

    \b
    Examples:
      nexus simulate
      nexus simulate plant-simulation.yaml --host 0.0.0.0
    """
    from importlib.resources import as_file, files

    from nexus.process.run import run
    from simulators.service import load, serve

    if file is not None:
        load(file)  # what is wrong with it is said as by any other tool
    configure_log("simulator")
    with as_file(files("simulators") / "demo/plant.yaml") as demo:
        return run(lambda stop: serve(stop, file or demo, host))


def health() -> int:
    """Check that the service on this machine is alive.

    \b
    Examples:
      nexus health
      NEXUS_HEALTH_PORT=8082 nexus health
    """
    from urllib.request import urlopen

    from nexus.process import settings

    process = settings.load(settings.Process)
    host, port = process.health_host, process.health_port
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  where it listens everywhere, also here
    try:
        with urlopen(f"http://{f'[{here}]' if ':' in here else here}:{port}/health", timeout=3) as answer:
            print(answer.read().decode())
    except OSError as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or reason
        print(
            f"no answer on port {port} ({said}): is the service running, with this NEXUS_HEALTH_PORT?", file=sys.stderr
        )
        return 1
    return 0


def secrets(
    users: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the broker's users to this file: for EMQX (.json) or Mosquitto."),
    ] = None,
) -> int:
    """Check a deployment's secrets.

    It reads them from the variables MQTT_USER_name and SECRET_name.

    \b
    Examples:
      nexus secrets
      nexus secrets --users /run/nexus/users.json
    """
    import os

    from nexus.cli import credentials
    from nexus.process import settings

    development = settings.load(settings.Process).environment == "development"
    number = credentials.check(os.environ, development=development, users=users)
    print(f"ok: {number} secrets")
    return 0


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop after this time; fail if a device has no rows, or the console does not answer."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the data and the logs in this folder.")] = None,
) -> int:
    """Run everything on this machine with simulated devices.

    \b
    Examples:
      nexus demo
      nexus demo --seconds 20 --keep data
    """
    try:
        from nexus.cli.demo import demo
    except ModuleNotFoundError as error:
        remedy = "pip install 'nexus-edge[all,console,demo]'"
        raise ConfigError(f"the demo needs the package {error.name}: {remedy}") from None
    return demo(seconds, keep)
