"""The tags that there are, found while people type."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from console.access.door import Viewer
from console.api import answers
from console.api.parameters import Text, Topic
from console.historian import catalogue, last, times
from console.parts import PartsDep
from nexus.contract.alarm import Priority
from nexus.contract.description import TagDescription
from nexus.contract.topic import ROOT

router = APIRouter(tags=["tags"])

_DESCRIBED = ("address", "type", "writable", "min", "max", "alarms")


class TagAlarm(BaseModel):
    """A fixed limit of an alarm of the tag, whether it stands or not."""

    name: str
    limit: float
    priority: Priority


class Tag(BaseModel):
    """One tag; from `address` on, null unless a gateway describes it."""

    topic: str
    device: str
    tag: str
    unit: str | None
    since: str | None
    address: str | None
    type: str | None
    writable: bool | None
    min: float | None
    max: float | None
    alarms: list[TagAlarm] | None


class Tags(BaseModel):
    """A page of tags, by topic; `next` is what to send as `after`, `total` counts all pages."""

    items: list[Tag]
    next: str | None
    total: int


@router.get("/tags", response_model=Tags, responses=answers.LINES)
async def tags(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    q: Annotated[
        Text, Query(max_length=200, description="Words that are all in the topic or its unit, whatever their case")
    ] = "",
    device: Annotated[Text, Query(max_length=2_000, description="Only this device's")] = "",
    topic: Annotated[list[Topic], Query(max_length=50, default_factory=list, description="Only these")],
    limit: Annotated[int, Query(ge=1, le=5_000)] = 100,
    after: Annotated[Text, Query(max_length=2_000, description="`next` of the page before")] = "",
) -> Response:
    """Tags by topic, those included that gateways describe and that never had a value."""
    known, described = parts.historian.catalogue, parts.plant.tags()
    await known.refresh()
    found = known.search(q.split(), f"{ROOT}{device}/" if device else "", described)
    if topic:
        wanted = set(topic)
        found = [one for one in found if one in wanted]
    shown, following = catalogue.page(found, after, limit)
    async with parts.database.connection() as connection:
        units = await last.units(connection, shown, described)
    items = [_shown(topic, units.get(topic), known.since(topic), described.get(topic)) for topic in shown]
    return answers.items(request, items, following, total=len(found))


def _shown(
    topic: str, unit: str | None, since: datetime | None, description: TagDescription | None
) -> dict[str, object]:
    device, _, tag = topic.removeprefix(ROOT).rpartition("/")
    return {
        "topic": topic,
        "device": device,
        "tag": tag,
        "unit": unit,
        "since": times.text_or_none(since),
        **{name: getattr(description, name, None) for name in _DESCRIBED},
    }
