"""Who was told of alarms, and what could not be sent."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from console.access import audit
from console.access.door import Operator
from console.api.parameters import Text
from console.historian import notifications
from console.parts import PartsDep
from console.problems import Problem

router = APIRouter(tags=["notifications"])

Number = Annotated[int, Path(ge=1, lt=2**63)]


class Attempt(BaseModel):
    """One attempt to send it; `answer` is what the receiver said."""

    number: int
    time: datetime
    seconds: float
    sent: bool
    answer: str


class FrequentAlarm(BaseModel):
    """An alarm in a digest."""

    topic: str
    count: int
    priority: str
    text: str
    last: str


class Digest(BaseModel):
    """What a digest stands for; `first` and `last` are epoch milliseconds."""

    count: int
    late: int
    alarms: int
    first: int
    last: int
    by_priority: dict[str, int]
    by_event: dict[str, int]
    top: list[FrequentAlarm]


class Notification(BaseModel):
    """One notification to one receiver."""

    id: str
    created: datetime
    receiver: str
    channel: str
    route: str
    kind: Literal["event", "escalation", "digest"]
    key: str
    state: Literal["pending", "sent", "dead", "digested"]
    late: bool
    topic: str
    event: str | None
    priority: str | None
    text: str | None
    happened: datetime | None
    summary: Digest | None
    digest: str | None = Field(description="The digest by which it was told")
    due: datetime
    expires: datetime
    settled: datetime | None
    answer: str
    attempted: int
    attempts: list[Attempt] = Field(description="The last ten")
    remaining: list[str] | None = Field(description="Of a mail that some have: who has not got it")
    refused: list[str] = Field(description="Those of them whom the mail server refuses for ever")


class Notifications(BaseModel):
    """A page, the newest first; `next` is for the parameter `after`, and null on the last page."""

    items: list[Notification]
    next: str | None
    pending: int = Field(description="Counted to 10,000")
    dead: int = Field(description="Counted to 10,000")
    receivers: list[str] = Field(description="All that ever had a notification")


class Retried(BaseModel):
    """It is sent again within moments, and given up after a day."""

    id: str


@router.get("/notifications")
async def found(
    _: Operator,
    parts: PartsDep,
    *,
    state: Annotated[Literal["pending", "sent", "dead", "digested"] | None, Query()] = None,
    receiver: Annotated[Text | None, Query(max_length=100)] = None,
    topic: Annotated[Text | None, Query(max_length=2_000)] = None,
    digest: Annotated[int | None, Query(ge=1, lt=2**63, description="Told by this digest")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[int, Query(ge=1, lt=2**63)] = 2**63 - 1,
) -> Notifications:
    """Notifications, with their last attempts."""
    asked = {"state": state, "receiver": receiver, "topic": topic, "digest": digest, "limit": limit, "after": after}
    async with parts.database.connection() as connection:
        rows = await notifications.find(connection, asked)
        pending, dead = await notifications.counts(connection)
        receivers = await notifications.receivers(connection)
    items = [Notification.model_validate(row) for row in rows]
    next_ = items[-1].id if len(items) == limit else None
    return Notifications(items=items, next=next_, pending=pending, dead=dead, receivers=receivers)


@router.post("/notifications/{number}/retry", status_code=202)
async def retry(person: Operator, parts: PartsDep, number: Number) -> Retried:
    """Sends a dead one again; a mail that some have, to the others alone."""
    async with parts.database.connection() as connection, connection.transaction():
        row = await notifications.retry(connection, number)
        if row is None:
            raise Problem(409, "Not sent again", notifications.NOT_AGAIN)
        topic, receiver = row
        detail = {"id": number, "receiver": receiver}
        await audit.add(connection, person, "notification retried", topic or None, detail=detail)
    return Retried(id=str(number))
