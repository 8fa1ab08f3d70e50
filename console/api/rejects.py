"""What could not be stored: shown, and tried again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from console.access.door import Viewer
from console.api import answers
from console.api.parameters import Text
from console.historian import rejects
from console.parts import PartsDep

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
