"""What could not be stored: shown, and tried again."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Engineer, Viewer
from console.api import answers
from console.api.parameters import Text
from console.historian import rejects
from console.parts import PartsDep
from console.problems import Problem

router = APIRouter(tags=["rejects"])


class Reject(BaseModel):
    """A message or a value; of a large payload its beginning. Bytes that are no text are shown like \\xff."""

    id: int
    time: str
    topic: str
    source: str | None
    tags: list[str] | None
    reason: str
    payload: str
    bytes: int
    retry: Literal["asked", "under way"] | None
    tried: str | None = Field(description="When it was tried again last, and refused again")


class Chosen(BaseModel):
    """Which to try again: those with these numbers, or 10,000 whose reason holds a text.

    Of those the oldest that were not tried again yet, then those that were tried longest ago.
    """

    model_config = ConfigDict(extra="forbid")
    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(default=[], max_length=rejects.RETRIED)
    reason: Annotated[Text, Field(max_length=500)] = ""


class RetryAsked(BaseModel):
    """How many the ingesters were asked to try: they begin within seconds, and what they store is a reject no more.

    `left` have that reason too, and were not asked for: ask again.
    """

    asked: int
    left: int


class Reason(BaseModel):
    """How many of the newest 100,000 have it."""

    reason: str
    count: int


class Rejects(BaseModel):
    """A page, the newest first."""

    items: list[Reject]
    next: str | None
    reasons: list[Reason]


@router.get("/rejects", response_model=Rejects, responses=answers.LINES)
async def found(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    reason: Annotated[Text, Query(max_length=500, description="Is in the reason, whatever its case")] = "",
    topic: Annotated[Text, Query(max_length=2_000, description="* stands for anything")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[int, Query(ge=1, lt=2**63)] = 2**63 - 1,
) -> Response:
    """The newest first."""
    async with parts.database.connection() as connection:
        items = await rejects.find(connection, reason, topic, after, limit)
        common = await rejects.reasons(connection)
    return answers.items(request, items, str(items[-1]["id"]) if len(items) == limit else None, reasons=common)


@router.post("/rejects/retry", status_code=202)
async def retry(person: Engineer, parts: PartsDep, chosen: Chosen) -> RetryAsked:
    """Has some tried again, after a fix of what kept them from being stored."""
    if bool(chosen.ids) == bool(chosen.reason):
        raise Problem(422, "The request is not valid", "give `ids` or `reason`")
    async with parts.database.connection() as connection, connection.transaction():
        asked, left = await rejects.retry(connection, chosen.ids, chosen.reason)
        detail = {**chosen.model_dump(), "asked": asked, "left": left}
        await audit.add(connection, person, "rejects retried", detail=detail)
    return RetryAsked(asked=asked, left=left)
