"""`nexus load` and `nexus verify`: how much a site takes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli.running import configure_log
from nexus.process.errors import ConfigError

NOTED = Path("load.json")


def load(
    *,
    publish: Annotated[Literal["tag", "device"], typer.Option(help="One message per tag, or per scan.")] = "device",
    devices: Annotated[int, typer.Option(help="Number of devices.")] = 100,
    tags: Annotated[int, typer.Option(help="Tags per device.")] = 100,
    rate: Annotated[float, typer.Option(help="Points per second; 0: as fast as possible.")] = 10_000,
    seconds: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    points: Annotated[int | None, typer.Option(help="Stop after this many points.")] = None,
    path: Annotated[str | None, typer.Option(help="Path of the devices; default: load/ and a random name.")] = None,
    wait: Annotated[float, typer.Option(help="Wait this many seconds for the last confirmations.")] = 60,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Note what was sent here, for `nexus verify`.")] = NOTED,
) -> int:
    """Publish counters at a given rate, as a plant would.

    \b
    Examples:
      nexus load --devices 200 --tags 50 --rate 10000 --seconds 60
      nexus load --publish tag --rate 0 --points 1000000 --out load.json
    """
    from nexus.cli.load import Limits, planned, send
    from nexus.process.run import run

    configure_log("load")
    plant = planned(publish, devices, tags, rate, path)
    limits = Limits(seconds, points, wait)
    code = run(lambda stop: send(stop, plant, limits, out))
    reached = plant.points / plant.seconds if plant.seconds else 0.0
    said = f"{plant.points} points in {plant.seconds:.1f} s ({reached:.0f} a second), {plant.unconfirmed} not confirmed"
    print(f"{said}, {plant.dropped} dropped" if plant.dropped else said)
    return code if code or not (plant.unconfirmed or plant.dropped) else 1


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File from `nexus load --out`.")] = NOTED,
    wait: Annotated[float, typer.Option(help="Give up after this many seconds without a new row.")] = 30,
) -> int:
    """Check that everything `nexus load` sent is in the table once.

    \b
    Examples:
      nexus verify
      nexus verify load.json --wait 60
    """
    from nexus.cli import verify as verification
    from nexus.cli.database import database_settings

    if not file.is_file():
        raise ConfigError(f"{file} does not exist: `nexus load --out` writes it")
    report = verification.verify(file, database_settings().database_url, wait)
    print(report)
    return 0 if report.good else 1
