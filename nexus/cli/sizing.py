"""`nexus load` and `nexus verify`: how much a site takes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli.running import configure_log
from nexus.process.errors import ConfigError

NOTED = Path("load.json")


def load(
    *,
    publish: Annotated[Literal["tag", "device"], typer.Option(help="One message for each tag, or scan.")] = "device",
    devices: Annotated[int, typer.Option(help="Number of devices.")] = 100,
    tags: Annotated[int, typer.Option(help="Tags of each device.")] = 100,
    rate: Annotated[float, typer.Option(help="Points a second; 0: as many as possible.")] = 10_000,
    seconds: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    points: Annotated[int | None, typer.Option(help="Stop after this many points.")] = None,
    path: Annotated[str | None, typer.Option(help="Of the devices; default: load/ and a random name.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the last confirmations.")] = 60,
    out: Annotated[Path, typer.Option(metavar="FILE", help="What was sent, for `nexus verify`.")] = NOTED,
) -> int:
    """Publish counters at a set rate, as a real plant would.

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
    print(f"{plant.points} points in {plant.seconds:.1f} s ({reached:.0f} a second), {plant.unconfirmed} not confirmed")
    return code if code or not plant.unconfirmed else 1


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `nexus load --out` wrote.")] = NOTED,
    wait: Annotated[float, typer.Option(help="Give up after this many seconds without a new row.")] = 30,
) -> int:
    """Compare the table with what a load has sent.

    \b
    Examples:
      nexus verify
      nexus verify load.json --wait 60
    """
    from nexus.cli import verify as verification
    from nexus.cli.database import database_settings

    if not file.is_file():
        raise ConfigError(f"{file} is not there: it is what `nexus load --out` writes")
    report = verification.verify(file, database_settings().database_url, wait)
    print(report)
    return 0 if report.good else 1
