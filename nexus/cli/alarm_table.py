"""Alarms and their journal, as people read them. Pure."""

from collections.abc import Iterable, Sequence

from gateway.tools.oneshot import table
from gateway.tools.trial_report import moment, name_of, shown
from nexus.contract.alarm import AlarmMessage, Record

_PRIORITIES = ("critical", "high", "medium", "low")
_CALLING = ("unacknowledged", "returned")


def in_order(messages: Iterable[AlarmMessage]) -> list[AlarmMessage]:
    """As they are to be dealt with: those that wait for a person, by priority, the newest first."""
    return sorted(messages, key=_urgency)


def standing(messages: Sequence[AlarmMessage]) -> list[str]:
    """A line an alarm, and how many."""
    if not messages:
        return ["no alarms"]
    head = ("raised", "priority", "state", "alarm", "value", "text")
    rows = [
        (moment(one.record.occurrence), one.priority, _state(one.record), _name(one), _value(one), one.text)
        for one in messages
    ]
    calling = sum(one.record.state in _CALLING for one in messages)
    number = f"{len(messages)} alarm{'' if len(messages) == 1 else 's'}"
    return [*_plain_table(head, rows), "", f"{number}, {calling} to be acknowledged"]


def event(message: AlarmMessage) -> str:
    """One event on a line by itself."""
    said = f"{moment(message.record.ts)}  {message.event}: {_name(message)} ({message.priority})"
    said += f", {value}" if (value := _value(message)) else ""
    return _plain(f"{said}: {message.text}" if message.text else said)


def journal(messages: Sequence[AlarmMessage]) -> list[str]:
    """A line an event."""
    if not messages:
        return ["no events"]
    head = ("time", "event", "state", "alarm", "value", "by", "reason")
    rows = [
        (
            moment(one.record.ts),
            one.event,
            _state(one.record),
            _name(one),
            _value(one),
            one.record.by or "",
            one.record.reason,
        )
        for one in messages
    ]
    return _plain_table(head, rows)


def _plain_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return table([head, *(tuple(map(_plain, row)) for row in rows)])


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in text)


def _urgency(message: AlarmMessage) -> tuple[bool, int, int]:
    return message.record.state not in _CALLING, _PRIORITIES.index(message.priority), -message.record.occurrence


def _name(message: AlarmMessage) -> str:
    return name_of(message.device, message.tag, message.name)


def _state(record: Record) -> str:
    return record.state if record.until is None else f"{record.state} until {moment(record.until)}"


def _value(message: AlarmMessage) -> str:
    if message.record.value is None:
        return ""
    value = " ".join(part for part in (shown(message.record.value), message.unit) if part)
    return value if message.record.limit is None else f"{value} (limit {message.record.limit:g})"
