"""Alarms, as the API's description has them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from nexus.contract.alarm import Event, Priority, State


class Alarm(BaseModel):
    """An event of an alarm, and its state after it. `id` names the occurrence, for requests.

    `occurrence` is when it began, `since` when the state did, `time` when this happened; `until` is the end of its
    shelving. `active`: the condition holds. `tag` is empty for an alarm of the device itself.
    `suppressed`: a person has suppressed it, and can unsuppress it; null of what is in the database.
    """

    id: str
    topic: str
    device: str
    tag: str
    name: str
    state: State
    event: Event
    active: bool
    acknowledged: bool
    occurrence: datetime
    since: datetime
    time: datetime
    value: bool | int | float | str | None
    limit: float | None
    unit: str | None
    priority: Priority
    text: str
    response: str
    by: str | None
    reason: str
    until: datetime | None
    suppressed: bool | None = None


class Counts(BaseModel):
    """Of all alarms, whatever is asked for; `by_priority` counts the active list, and `unacknowledged` is its part."""

    unacknowledged: int
    active: int
    shelved: int
    by_priority: dict[Priority, int]


class AlarmPage(BaseModel):
    """`next` is for the parameter `after`; `missing` names what is away, and then these are the last known ones."""

    items: list[Alarm]
    next: str | None
    counts: Counts
    missing: list[Literal["broker", "database", "alarms beyond what the console keeps"]]


class Journal(BaseModel):
    """Events, the newest first; `next` is for the parameter `after`."""

    items: list[Alarm]
    next: str | None


class Done(BaseModel):
    """The state that the alarm has now. `recorded` is false while the audit's row waits for the database."""

    ok: Literal[True]
    state: State | None
    recorded: bool


class Result(BaseModel):
    """What became of one of several: `ok` is null where nobody knows, and `error` says why it was not done."""

    id: str
    ok: bool | None
    state: State | None
    error: str | None
    recorded: bool


class Results(BaseModel):
    """One for each alarm that was named, in that order."""

    items: list[Result]


class Rate(BaseModel):
    """How many were raised within the 10 minutes from `time` on."""

    time: datetime
    raised: int


class Top(BaseModel):
    """An alarm that was raised often; `share` of all, from 0 to 1."""

    topic: str
    priority: Priority
    text: str
    raised: int
    share: float


class Chatterer(BaseModel):
    """An alarm that was raised three times within a minute, `bursts` times."""

    topic: str
    text: str
    bursts: int
    raised: int


class Response(BaseModel):
    """How long alarms of a priority waited for a person, in seconds."""

    priority: Priority
    raised: int
    acknowledged: int
    median: float | None
    p95: float | None
    longest: float | None


class Statistics(BaseModel):
    """How alarms served people, by EEMUA 191; shares from 0 to 1, lengths of time in seconds."""

    raised: int
    per_10_minutes: float
    peak_10_minutes: int
    flood_share: float
    top_10_share: float | None
    chattering: int
    standing: int
    stale: int
    shelved: int
    unacknowledged: int
    median_response: float | None
    rate: list[Rate]
    top: list[Top]
    chatterers: list[Chatterer]
    response: list[Response]
