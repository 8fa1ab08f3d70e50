"""`nexus alarms`: what alarms would do."""

from pathlib import Path
from typing import Annotated

import typer

from nexus.cli.database import connected
from nexus.process.errors import ConfigError

group = typer.Typer(
    no_args_is_help=True,
    help="Try the alarms of device files on the history.\n\n\b\nExamples:\n"
    "  nexus alarms try plant.yaml\n  nexus alarms try plant.yaml --from 30d",
)


@group.command("try")
def try_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Device file or directory.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="A time, or an age.")] = "7d",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="A time, or an age.")] = "0s",
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Show the first N occurrences.")] = 50,
) -> int:
    """Show what alarms would have raised, by the history of their tags.

    Nothing is changed, neither in the plant nor in the database, where it needs to read only. It is as if operators
    had acknowledged everything at once. Whether a device was lost is not in the history: `lost` is left out.

    \b
    Examples:
      nexus alarms try plant.yaml
      nexus alarms try plant.yaml --from 2026-11-01 --to 2026-11-08T06:00
      nexus alarms try plant.yaml --from 30d --device plc001 --show 0
    """
    from datetime import UTC, datetime

    from gateway.tools.trial import Trial
    from gateway.tools.trial_report import line, summary
    from nexus.cli.alarm_history import history, moment
    from nexus.cli.device_files import loaded

    now = datetime.now(UTC)
    try:
        begin, until = moment(start, now), moment(end, now)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if begin >= until:
        raise ConfigError("--from must be before --to")
    trials = [trial for one in loaded(path) if device in (None, one.device.name) and (trial := Trial(one)).sums]
    if not trials:
        raise ConfigError(f"{path}: no alarms to try{'' if device is None else f', of a device {device}'}")
    end_ms, left = round(until.timestamp() * 1000), show
    with connected() as connection:
        for trial in trials:
            device_path = trial.configured.device.path
            for occurrence in trial.replay(history(connection, device_path, trial.tags, begin, until), end_ms):
                if left > 0:
                    print(line(device_path, occurrence))
                left -= 1
    if left < 0 and show:
        print(f"… and {-left} more")
    print("\n".join(summary(trials, begin, until)))
    return 0
