"""The tags that there are, found while people type."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from msgspec.structs import asdict
from psycopg import AsyncConnection
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

_DESCRIBED = ("address", "type", "writable", "min", "max")


class TagAlarm(BaseModel):
    """A fixed limit of an alarm of the tag, whether it stands or not."""

    name: str
    limit: float
    priority: Priority


class TagAlarmByTag(BaseModel):
    """An alarm of the tag whose limit is the value of `tag`, another tag of the device."""

    name: str
    tag: str
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
    limit_tags: list[TagAlarmByTag] | None


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
    show: Annotated[
        Literal["all", "problems", "writable"],
        Query(
            description="`problems`: the newest reading is not good, or there is none, or nobody reads the device now"
        ),
    ] = "all",
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
    if show == "writable":
        found = [one for one in found if (tag := described.get(one)) is not None and tag.writable]
    async with parts.database.connection() as connection:
        if show == "problems":
            found = await _problems(connection, found, parts.plant.unread())
        shown, following = catalogue.page(found, after, limit)
        units = await last.units(connection, shown, described)
    items = [_shown(topic, units.get(topic), known.since(topic), described.get(topic)) for topic in shown]
    return answers.items(request, items, following, total=len(found))


async def _problems(connection: AsyncConnection, topics: Sequence[str], unread: set[str]) -> list[str]:
    away = {one for one in topics if one.removeprefix(ROOT).rpartition("/")[0] in unread}
    wrong = away | await last.not_good(connection, [one for one in topics if one not in away])
    return [one for one in topics if one in wrong]


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
        "alarms": description and [asdict(one) for one in description.alarms],
        "limit_tags": description and [asdict(one) for one in description.limit_tags],
    }
