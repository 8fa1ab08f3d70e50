"""The last value of each tag."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from console.access.door import Viewer
from console.api import answers
from console.api.parameters import QualityName, Topic
from console.historian import last
from console.parts import Parts, PartsDep

MOST = 1_000

router = APIRouter(tags=["last"])


class Last(BaseModel):
    """A tag's newest reading."""

    topic: str
    time: str
    value: float | str | None
    quality: QualityName
    unit: str | None


class LastValues(BaseModel):
    """In the order of the topics; one that has never been stored is not there."""

    items: list[Last]
    next: None = None


class Topics(BaseModel):
    """Topics, of which a URL would hold too few."""

    topics: list[Topic] = Field(min_length=1, max_length=MOST)


@router.get("/last", response_model=LastValues, responses=answers.LINES)
async def get(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    topic: Annotated[list[Topic], Query(min_length=1, max_length=MOST)],
) -> Response:
    """The last value of each topic, at most 1,000."""
    return await _answer(request, parts, topic)


@router.post("/last", response_model=LastValues, responses=answers.LINES)
async def post(request: Request, _: Viewer, parts: PartsDep, asked: Topics) -> Response:
    """The same, for more topics than a URL holds."""
    return await _answer(request, parts, asked.topics)


async def _answer(request: Request, parts: Parts, topics: list[str]) -> Response:
    async with parts.database.connection() as connection:
        found = await last.values(connection, topics)
    return answers.items(request, found)
