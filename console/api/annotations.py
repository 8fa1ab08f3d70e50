"""Annotations: what people write beside the readings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Operator, Viewer
from console.api import answers
from console.api.parameters import Moment, Text, Topic
from console.historian import annotations, times
from console.historian.annotations import About
from console.parts import PartsDep
from console.problems import Problem

router = APIRouter(tags=["annotations"])

FromEver = Annotated[
    Moment | None, Query(alias="from", description="RFC 3339. All from the first on, if it is not given")
]
ToEver = Annotated[
    Moment | None, Query(description="RFC 3339; the range ends before it. All that follow, if it is not given")
]


class Annotation(BaseModel):
    """About a topic or a device, from when to when."""

    id: int
    created: str
    person: str
    topic: str | None
    device: str | None
    from_: str = Field(alias="from")
    to: str
    text: str


class Annotations(BaseModel):
    """A page, in the order in which they were written."""

    items: list[Annotation]
    next: str | None


class NewAnnotation(BaseModel):
    """About a `topic`, or a `device` and all below its path; `to` is `from` if it is not given."""

    model_config = ConfigDict(extra="forbid")
    topic: Topic | None = None
    device: Annotated[Text, Field(min_length=1, max_length=2_000)] | None = None
    from_: Moment = Field(alias="from")
    to: Moment | None = None
    text: Annotated[Text, Field(min_length=1, max_length=10_000)]


@router.get("/annotations", response_model=Annotations, responses=answers.LINES)
async def found(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    topic: Annotated[list[Topic], Query(max_length=50, default_factory=list)],
    device: Annotated[list[Topic], Query(max_length=50, default_factory=list)],
    from_: FromEver = None,
    to: ToEver = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    """Those that meet a range of time, about the topics with their devices, or all."""
    about = About(topic, device, from_ or times.EARLIEST, to or times.LATEST)
    async with parts.database.connection() as connection:
        items = await annotations.find(connection, about, after, limit)
    return answers.items(request, items, str(items[-1]["id"]) if len(items) == limit else None)


@router.post("/annotations", response_model=Annotation, status_code=201)
async def add(person: Operator, parts: PartsDep, new: NewAnnotation) -> Response:
    """Writes one. It cannot be changed: write another."""
    if (new.topic is None) == (new.device is None):
        raise Problem(422, "The request is not valid", "give `topic` or `device`")
    end = new.to or new.from_
    if end < new.from_:
        raise Problem(422, "The request is not valid", "`to` must not be before `from`")
    one = annotations.Annotation(person.name, new.topic, new.device, new.from_, end, new.text)
    async with parts.database.connection() as connection, connection.transaction():
        stored = await annotations.add(connection, one)
        await audit.add(connection, person, "annotation", new.topic, new=stored)
    return answers.created(stored)
