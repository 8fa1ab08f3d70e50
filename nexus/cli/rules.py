"""`nexus rules`: evaluate rules across devices, and check their files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.device_files import loaded
from nexus.cli.running import configure_log
from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion.rules.definition import Rule

group = typer.Typer(
    help="Evaluate rules across devices: derived tags and alarms.\n\n\b\nExamples:\n"
    "  nexus rules --rules rules.yaml\n  nexus rules check rules.yaml --devices plant.yaml",
)


@group.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    rules: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Rule file or directory; default: NEXUS_RULES.")
    ] = None,
) -> int:
    """Evaluate rules until it is stopped. Of several that run, one is active, and the others take over."""
    if context.invoked_subcommand is not None:
        return 0
    from ingestion.rules.service import serve
    from ingestion.rules.settings import Settings
    from nexus.process import settings
    from nexus.process.run import run as run_service

    if (path := rules or settings.load(Settings).rules) is None:
        raise ConfigError("no rule file: give --rules PATH, or set NEXUS_RULES")
    configure_log("rules")
    return run_service(lambda stop: serve(stop, path))


@group.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Rule file or directory.")],
    devices: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Device files, to which the rules' inputs and paths are held.")
    ] = None,
) -> int:
    """List every mistake in rule files, with line and fix.

    With the device files it also finds inputs that no device has, and paths that one has already.

    \b
    Examples:
      nexus rules check rules.yaml
      nexus rules check /etc/nexus/rules --devices /etc/nexus/devices
    """
    from ingestion.rules.files import load

    rules = load(path)
    if devices is not None:
        _hold_to_devices(rules, devices)
    for rule in rules:
        print(f"{rule.name}: {len(rule.inputs)} inputs, {len(rule.derived)} tags on dev/{rule.path}")
    print(f"ok: {len(rules)} rules")
    return 0


def _hold_to_devices(rules: "Sequence[Rule]", devices: Path) -> None:
    """Raises ConfigError for rules that do not fit to these devices."""
    tags: set[str] = set()
    paths: set[str] = set()
    for device in loaded(devices):
        paths.add(device.device.path)
        tags |= {f"{device.device.path}/{tag}" for tag in device.tag_names}
    wrong = []
    for rule in rules:
        if rule.path in paths:
            wrong.append(f"rule {rule.name}: a device has the path {rule.path}: change one of the two")
        wrong += [
            f"rule {rule.name}: input {one.name}: no device has {one.source}"
            for one in rule.inputs
            if one.source not in tags
        ]
    if wrong:
        raise ConfigError("\n".join(wrong))
