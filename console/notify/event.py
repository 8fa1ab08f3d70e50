"""What an event of an alarm means to those who may be told. Pure."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from nexus.contract.alarm import AlarmMessage, Event, State

Told = Literal["raised", "cleared", "acknowledged"]

_CALLS: frozenset[Event] = frozenset({"raised", "realarmed", "unshelved", "unsuppressed", "in-service"})
_ANSWERS: frozenset[Event] = frozenset({"acknowledged", "shelved", "out-of-service"})
_HIDDEN: frozenset[State] = frozenset({"shelved", "suppressed", "out-of-service"})
_WAITING: frozenset[State] = frozenset({"unacknowledged", "returned", "latched"})


def told_as(word: AlarmMessage) -> Told | None:
    """As what people are told of it; None if nobody is: what is shelved, suppressed or out of service calls nobody."""
    if word.record.state in _HIDDEN:
        return None
    if word.event in _CALLS and word.record.state == "unacknowledged":
        return "raised"
    if word.event in ("cleared", "removed"):
        return "cleared"
    return "acknowledged" if word.event == "acknowledged" else None


def is_firing(word: AlarmMessage) -> bool:
    """Whether the condition holds, and nothing hides the alarm."""
    return word.record.active and word.record.state not in _HIDDEN


def waits(word: AlarmMessage) -> bool:
    """Whether an occurrence still waits for a person."""
    return word.record.state in _WAITING and not word.record.acknowledged


def is_answered(word: AlarmMessage) -> bool:
    """Whether a person has done something about the occurrence: if it calls again, others are waited for anew."""
    return word.event in _ANSWERS


def moment(ms: int) -> datetime:
    """Epoch milliseconds as a time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def key_of(word: AlarmMessage, receiver: str, *more: object) -> str:
    """By which a receiver knows one that comes twice: of the alarm, occurrence, event with its time, and receiver."""
    record = word.record
    parts = (word.topic, record.occurrence, word.event, record.ts, receiver, *more)
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
