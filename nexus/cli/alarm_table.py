"""Alarms and their journal, as people read them. Pure."""

from collections.abc import Iterable, Sequence

from gateway.tools.oneshot import table
from gateway.tools.trial_report import moment, name_of, shown
from nexus.contract.alarm import Record, Word

_PRIORITIES = ("critical", "high", "medium", "low")
_CALLING = ("unacknowledged", "returned")


def in_order(words: Iterable[Word]) -> list[Word]:
    """As they are to be dealt with: those that wait for a person, by priority, the newest first."""
    return sorted(words, key=_urgency)


def standing(words: Sequence[Word]) -> list[str]:
    """A line an alarm, and how many."""
    if not words:
        return ["no alarms"]
    head = ("raised", "priority", "state", "alarm", "value", "text")
    rows = [
        (moment(one.record.occurrence), one.priority, _state(one.record), _name(one), _value(one), one.text)
        for one in words
    ]
    calling = sum(one.record.state in _CALLING for one in words)
    number = f"{len(words)} alarm{'' if len(words) == 1 else 's'}"
    return [*_plain_table(head, rows), "", f"{number}, {calling} to be acknowledged"]


def event(word: Word) -> str:
    """One event on a line by itself."""
    said = f"{moment(word.record.ts)}  {word.event}: {_name(word)} ({word.priority})"
    said += f", {value}" if (value := _value(word)) else ""
    return _plain(f"{said}: {word.text}" if word.text else said)


def journal(words: Sequence[Word]) -> list[str]:
    """A line an event."""
    if not words:
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
        for one in words
    ]
    return _plain_table(head, rows)


def _plain_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return table([head, *(tuple(map(_plain, row)) for row in rows)])


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in text)


def _urgency(word: Word) -> tuple[bool, int, int]:
    return word.record.state not in _CALLING, _PRIORITIES.index(word.priority), -word.record.occurrence


def _name(word: Word) -> str:
    return name_of(word.device, word.tag, word.name)


def _state(record: Record) -> str:
    return record.state if record.until is None else f"{record.state} until {moment(record.until)}"


def _value(word: Word) -> str:
    if word.record.value is None:
        return ""
    value = " ".join(part for part in (shown(word.record.value), word.unit) if part)
    return value if word.record.limit is None else f"{value} (limit {word.record.limit:g})"
