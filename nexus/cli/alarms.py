"""`nexus alarms`: what stands, what happened, what a person does about it, and what alarms would do."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli.database import connected
from nexus.process.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from nexus.contract.ack import Action
    from nexus.contract.alarm import AlarmMessage

group = typer.Typer(
    no_args_is_help=True,
    help="List, acknowledge and try alarms, and read their journal.\n\n\b\nExamples:\n"
    "  nexus alarms list\n  nexus alarms ack plant/line1/press/force/high --by anna\n"
    "  nexus alarms try plant.yaml --from 30d",
)

Device = Annotated[str | None, typer.Option(metavar="PATH", help="Only this device path, and what is below it.")]
Names = Annotated[list[str], typer.Argument(metavar="ALARM", help="As `list` shows it: device path, tag, name.")]
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who you are; default: your login here, unless it is root's.")
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the broker.")]


@group.command("list")
def list_(
    device: Device = None,
    stored: Annotated[bool, typer.Option("--stored", help="From the database, not from the broker.")] = False,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is shelved, suppressed or out of service.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show alarms that are not normal, the urgent ones first.

    \b
    Examples:
      nexus alarms list
      nexus alarms list --device plant/line1 --all
      nexus alarms list --stored --json
    """
    from nexus.cli import alarm_table

    hidden = ("normal",) if everything else ("normal", "shelved", "suppressed", "out-of-service")
    messages = _stored(device) if stored else _retained(device)
    found = alarm_table.in_order(message for message in messages if message.record.state not in hidden)
    _show(found, alarm_table.standing, as_json=as_json)
    return 0


@group.command()
def journal(
    alarm: Annotated[
        str | None, typer.Argument(metavar="ALARM", help="One alarm, a tag, a device; default: all.")
    ] = None,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="A time, or an age.")] = "7d",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="A time, or an age.")] = "0s",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="The newest so many.")] = 50,
    *,
    as_json: AsJson = False,
) -> int:
    """Show what happened to alarms, and who did what.

    \b
    Examples:
      nexus alarms journal
      nexus alarms journal plant/line1/press/force/high --from 30d
    """
    from nexus.cli import alarm_journal, alarm_table

    begin, until = _range(start, end)
    topic = None if alarm is None else f"alarm/{_bare(alarm)}"
    with connected() as connection:
        messages = list(alarm_journal.journal(connection, topic, begin, until, limit))
    _show(messages, alarm_table.journal, as_json=as_json)
    return 0


@group.command()
def shelve(
    alarms: Names,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 8h; at most 7d.")],
    by: By = None,
    reason: Reason = "",
) -> int:
    """Hide alarms for a time.

    \b
    Examples:
      nexus alarms shelve plant/line1/press/force/high --for 8h --by anna --reason "sensor is replaced on Monday"
    """
    from nexus.process.duration import seconds

    try:
        return _ask("shelve", alarms, by, reason, seconds(duration))
    except ValueError as error:
        raise ConfigError(f"--for: {error}") from None


def _add(name: str, action: "Action", what: str) -> None:
    """A command that asks for nothing but an action."""

    def command(alarms: Names, by: By = None, reason: Reason = "") -> int:
        return _ask(action, alarms, by, reason)

    example = f'nexus alarms {name} plant/line1/press/force/high --by anna --reason "on my way"'
    command.__doc__ = f"{what}\n\n\b\nExamples:\n  {example}"
    group.command(name)(command)


_add("ack", "acknowledge", "Acknowledge alarms.")
_add("unshelve", "unshelve", "Show shelved alarms again.")
_add("suppress", "suppress", "Hide alarms until somebody unsuppresses them.")
_add("unsuppress", "unsuppress", "Show suppressed alarms again.")
_add("out-of-service", "out-of-service", "Take alarms out of service, as for maintenance.")
_add("in-service", "in-service", "Put alarms into service again.")
_add("comment", "comment", "Write the reason into the journal, and change nothing.")
_add("reset", "reset", "Reset latched alarms.")


@group.command("try")
def try_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Device file or directory.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="A time, or an age.")] = "7d",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="A time, or an age.")] = "0s",
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Show the first N occurrences.")] = 50,
) -> int:
    """Show what alarms would have raised in the past.

    Nothing is changed, neither in the plant nor in the database, where it needs to read only. It is as if operators
    had acknowledged everything at once. Whether a device was lost is not in the history: `lost` is left out.

    \b
    Examples:
      nexus alarms try plant.yaml
      nexus alarms try plant.yaml --from 2026-11-01 --to 2026-11-08T06:00
      nexus alarms try plant.yaml --from 30d --device plc001 --show 0
    """
    from gateway.tools.trial import Trial
    from gateway.tools.trial_report import line, summary
    from nexus.cli.alarm_history import history
    from nexus.cli.device_files import loaded

    begin, until = _range(start, end)
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


def _ask(action: "Action", alarms: list[str], by: str | None, reason: str, seconds: float | None = None) -> int:
    """Asks the gateways, and says what came of it; 1 if any refused."""
    import asyncio

    from nexus.cli import alarm_broker
    from nexus.contract import ack
    from nexus.contract.codec import DecodeError

    request = ack.Request(action, by=by or _login(), reason=reason, seconds=seconds)
    try:
        ack.decode_request(ack.encode_request(request))
    except DecodeError as error:
        raise ConfigError(str(error)) from None
    names = [_bare(name) for name in alarms]
    answers = asyncio.run(alarm_broker.ask([(f"{ack.ROOT}{name}", request) for name in names]))
    for name, answer in zip(names, answers, strict=True):
        said = f"{name}: {answer.state if answer.ok else answer.error}"
        print(said, file=sys.stdout if answer.ok else sys.stderr)
    return 0 if all(answer.ok for answer in answers) else 1


def _login() -> str:
    """The person at this terminal. Raises ConfigError where that is nobody's name."""
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "root"
    if name in ("root", "nexus"):
        raise ConfigError("say who you are: --by anna; it goes into the journal")
    return name


def _bare(alarm: str) -> str:
    """Its name without the topic's root. Raises ConfigError for what no topic can be."""
    name = alarm.removeprefix("alarm/")
    if not name or any(letter in name for letter in "+#\0"):
        raise ConfigError(f"{alarm!r} is not an alarm: write it as `nexus alarms list` shows it")
    return name


def _range(start: str, end: str) -> "tuple[datetime, datetime]":
    from datetime import UTC, datetime

    from nexus.cli.alarm_history import moment

    now = datetime.now(UTC)
    try:
        begin, until = moment(start, now), moment(end, now)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if begin >= until:
        raise ConfigError("--from must be before --to")
    return begin, until


def _retained(device: str | None) -> "list[AlarmMessage]":
    """Raises ConfigError if there is none of the device, not even a normal one."""
    import asyncio

    from nexus.cli import alarm_broker, alarm_paths

    path = None if device is None else _bare(device).rstrip("/")
    found = asyncio.run(alarm_broker.messages(path))
    if path is not None and not found:
        others = asyncio.run(alarm_broker.messages())
        raise ConfigError(alarm_paths.unknown(path, {message.device for message in others}))
    return found


def _stored(device: str | None) -> "list[AlarmMessage]":
    """Raises ConfigError if no alarm of the device was ever stored."""
    from nexus.cli import alarm_journal, alarm_paths

    with connected() as connection:
        messages = alarm_journal.now(connection)
        if device is None:
            return messages
        path = _bare(device).rstrip("/")
        found = [message for message in messages if alarm_paths.is_below(message.device, path)]
        if not found:
            known = alarm_journal.devices(connection)
            if not any(alarm_paths.is_below(one, path) for one in known):
                raise ConfigError(alarm_paths.unknown(path, known))
        return found


def _show(messages: "list[AlarmMessage]", table: "Callable[[list[AlarmMessage]], list[str]]", *, as_json: bool) -> None:
    from nexus.contract.alarm import encode

    print("\n".join([encode(message).decode() for message in messages] if as_json else table(messages)))
