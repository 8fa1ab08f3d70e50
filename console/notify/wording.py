"""A notification in words: the subject and the text of a mail. Pure."""

from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from console.notify.channels.outcome import short
from console.notify.event import moment, told_as, waits
from console.notify.message import Message
from console.notify.summary import Summary
from nexus.contract.alarm import AlarmMessage

_LONGEST = 150  # characters of a subject
_MOST = 2_000  # of a text in a mail


def subject(message: Message) -> str:
    """One line; what matters most comes first."""
    if message.summary is not None:
        found = f"{message.summary.count} notifications of {message.summary.alarms} alarms"
        return found + (" (late)" if message.summary.late else "")
    if (word := message.word) is None:
        return "Test of a receiver"
    head = f"{word.priority.upper()} {told_as(word) or word.event}"
    if message.kind == "escalation":
        head = f"{word.priority.upper()} not acknowledged"
    late = " (late)" if message.is_late else ""
    # An encoded word is decoded into a header, with what line breaks it hides: there are none in our subjects.
    return short(f"{head}{late}: {word.text or word.name} [{_place(word)}]".replace("=?", "= ?"), _LONGEST)


def text(message: Message, zone: ZoneInfo, address: str | None) -> str:
    """Lines of plain text; `address` is the console's, as browsers know it."""
    if message.summary is not None:
        lines = _digest(message.summary, zone)
    elif message.word is not None:
        lines = _event(message, message.word, zone)
    else:
        lines = [f"This is a test of the receiver {message.receiver}."]
    if address is not None:
        query = f"?device={quote(message.word.device, safe='')}" if message.word is not None else ""
        lines += ["", f"{address}/alarms{query}"]
    route = f", route {message.route}" if message.route else ""
    return "\n".join([*lines, "", f"-- \nNexus Edge, receiver {message.receiver}{route}, key {message.key}", ""])


def _event(message: Message, word: AlarmMessage, zone: ZoneInfo) -> list[str]:
    record = word.record
    lines = [_line(word.text or word.name), ""]
    if message.kind == "escalation":
        said = "Nobody has acknowledged this alarm" if waits(word) else "This alarm was not acknowledged in time"
        lines += [f"{said}; the condition {'holds still' if record.active else 'is over'}.", ""]
    if message.is_late:
        lines += ["This notification is late: the event reached the database long after it happened.", ""]
    rows = [
        ("Event", f"{told_as(word) or word.event} at {_time(record.ts, zone)}"),
        ("Raised", _time(record.occurrence, zone)),
        ("Priority", word.priority),
        ("Alarm", _place(word)),
        ("Value", _value(word)),
        ("Response", word.response),
        ("By", f"{record.by}: {record.reason}" if record.by and record.reason else record.by or ""),
    ]
    return lines + [f"{name + ':':<10} {_line(value)}" for name, value in rows if value]


def _digest(found: Summary, zone: ZoneInfo) -> list[str]:
    lines = [
        f"{found.count} notifications of {found.alarms} alarms, told as one because they were so many.",
        f"First: {_time(found.first, zone)}",
        f"Last:  {_time(found.last, zone)}",
    ]
    if found.late:
        lines.append(f"{found.late} of them are late: their events reached the database long after they happened.")
    lines += ["", *(f"{count:>6}  {name}" for name, count in sorted(found.by_priority.items()))]
    lines += ["", *(f"{count:>6}  {name}" for name, count in sorted(found.by_event.items()))]
    lines += ["", "The most urgent and frequent:"]
    for one in found.top:
        told = f"{one.priority}: {one.text or '(no text)'} [{one.topic.removeprefix('alarm/')}]"
        lines.append(f"{one.count:>6}  {_line(told)}")
        lines.append(f"        last: {one.last}")
    return [*lines, "", "Each of them is listed by `nexus notify list`, and in the journal of alarms."]


def _line(text: str) -> str:
    """One line, so that no text of a device or a person looks like lines of ours."""
    return short(text, _MOST)


def _place(word: AlarmMessage) -> str:
    return word.topic.removeprefix("alarm/")


def _value(word: AlarmMessage) -> str:
    value, limit = word.record.value, word.record.limit
    if value is None:
        return ""
    unit = f" {word.unit}" if word.unit else ""
    return f"{value}{unit}" + (f", limit {limit:g}{unit}" if limit is not None else "")


def _time(ms: int, zone: ZoneInfo) -> str:
    at: datetime = moment(ms).astimezone(zone)
    return at.strftime("%Y-%m-%d %H:%M:%S %Z")
