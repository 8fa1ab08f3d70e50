"""An alarm as people are shown it, and the order in which they are to look. Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import msgspec

from console.live import epoch
from nexus.contract.alarm import AlarmMessage, Event, Priority, State
from nexus.contract.reading import Value

PRIORITIES: tuple[Priority, ...] = ("critical", "high", "medium", "low")
HIDDEN: frozenset[State] = frozenset({"shelved", "suppressed", "out-of-service"})
ROOT = "alarm/"


class Urgency(NamedTuple):
    """Sorts those that wait for a person before the others, then by priority, then the newest first."""

    acknowledged: bool
    priority: int
    is_over: bool
    newest: int
    topic: str


class AlarmItem(msgspec.Struct, frozen=True, gc=False):
    """One event of an alarm, and its state after it; times as the API writes them."""

    id: str
    topic: str
    device: str
    tag: str
    name: str
    state: State
    event: Event
    active: bool
    acknowledged: bool
    occurrence: str
    since: str
    time: str
    value: Value
    limit: float | None
    unit: str | None
    priority: Priority
    text: str
    response: str
    by: str | None
    reason: str
    until: str | None
    suppressed: bool | None = None


def item(message: AlarmMessage, *, suppressed: bool | None = None) -> AlarmItem:
    """What a message says; `suppressed` is whether a person has suppressed it, where that is known."""
    record, topic = message.record, message.topic
    return AlarmItem(
        identity(topic, record.occurrence),
        topic,
        message.device,
        message.tag,
        message.name,
        record.state,
        message.event,
        record.active,
        record.acknowledged,
        epoch.text(record.occurrence),
        epoch.text(record.since),
        epoch.text(record.ts),
        record.value,
        record.limit,
        message.unit,
        message.priority,
        message.text,
        message.response,
        record.by,
        record.reason,
        None if record.until is None else epoch.text(record.until),
        suppressed,
    )


def is_hidden(message: AlarmMessage) -> bool:
    """Whether it calls nobody, whatever its condition."""
    return message.record.state in HIDDEN


def is_calling(message: AlarmMessage) -> bool:
    """Whether it waits for a person."""
    return not message.record.acknowledged and not is_hidden(message)


def urgency(message: AlarmMessage) -> Urgency:
    """Where it stands among others."""
    record = message.record
    return Urgency(
        record.acknowledged, PRIORITIES.index(message.priority), not record.active, -record.occurrence, message.topic
    )


def identity(topic: str, occurrence: int) -> str:
    """Names an occurrence (epoch ms) of an alarm in an address."""
    return urlsafe_b64encode(f"{topic}@{occurrence}".encode()).decode().rstrip("=")


def identified(identity: str) -> tuple[str, int]:
    """The topic and the occurrence that it names. Raises ValueError."""
    padded = identity + "=" * (-len(identity) % 4)
    topic, at, occurrence = urlsafe_b64decode(padded.encode()).decode().rpartition("@")
    if not (at and topic.startswith(ROOT) and occurrence.isdecimal()) or {"+", "#", "\0"} & set(topic):
        raise ValueError(identity)
    return topic, int(occurrence)
