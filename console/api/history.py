"""The history of tags: raw where it is short, else in buckets that hide no spike."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from console.access.door import Viewer
from console.api import answers
from console.api.parameters import From, QualityName, To, Topic, span
from console.historian import history as past
from console.historian import last, times
from console.parts import PartsDep
from console.problems import Problem

MOST_TOPICS = 50
MOST_POINTS = 100_000  # in one answer

router = APIRouter(tags=["history"])


class Reading(BaseModel):
    """A reading as it was stored."""

    time: str
    value: float | str | None
    quality: QualityName


class Bucket(BaseModel):
    """What the readings were from `time` to the next bucket; `quality` is the worst, `good` how many are good."""

    time: str
    min: float | None
    max: float | None
    avg: float | None
    first: float | None
    last: float | None
    count: int
    good: int
    quality: QualityName


class Gap(BaseModel):
    """A time without readings that is long beside what is usual for the tag."""

    from_: str
    to: str

    model_config = {"alias_generator": lambda name: name.rstrip("_")}


class Series(BaseModel):
    """One tag's; `resolution` is raw, or the width of a bucket, like 2min."""

    topic: str
    unit: str | None
    resolution: str
    points: list[Reading] | list[Bucket]
    gaps: list[Gap]


class History(BaseModel):
    """A series a topic, in the order that was asked for."""

    series: list[Series]


@router.get("/history", response_model=History, responses=answers.LINES)
async def history(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    topic: Annotated[list[Topic], Query(min_length=1, max_length=MOST_TOPICS)],
    from_: From = None,
    to: To = None,
    points: Annotated[int, Query(ge=1, le=10_000, description="Of each tag, at most")] = 1_000,
    timezone: Annotated[str, Query(max_length=100, description="Whose days, by its IANA name")] = "UTC",
) -> Response:
    """Readings where there are no more than `points`, else buckets."""
    start, end, now = span(from_, to)
    if len(topic) * points > MOST_POINTS:
        most = MOST_POINTS // len(topic)
        raise Problem(422, "Too many points", f"ask for at most {most} points of each of {len(topic)} topics")
    wanted = past.Wanted(start, end, points, _zone(timezone), now)
    found, budget = [], past.LARGEST_SCAN
    async with parts.database.connection() as connection:
        kept = await parts.historian.kept.get(connection)
        units = await last.units(connection, topic, parts.plant.tags())
        for one in topic:
            try:
                series = await past.read(connection, one, wanted, kept, budget)
            except past.TooMuchError as error:
                raise Problem(422, "Too much to read", _narrow(error)) from None
            budget -= series.readings
            found.append(_shown(series, units.get(one)))
    lines = ({"topic": one["topic"], **point} for one in found for point in one["points"])
    return answers.body(request, {"series": found}, lines)


def _zone(name: str) -> ZoneInfo:
    try:
        return times.zone(name)
    except ValueError as error:
        raise Problem(422, "The request is not valid", f"timezone: {error}") from None


def _narrow(error: past.TooMuchError) -> str:
    return (
        f"{error.topic} has about {error.readings:,} readings there, and one request may read {past.LARGEST_SCAN:,}:"
        f" ask for at most {times.duration(error.seconds)} at once, for fewer topics, or for fewer points"
    )


def _shown(series: past.Series, unit: str | None) -> dict[str, Any]:
    silent = [{"from": times.text(first), "to": times.text(after)} for first, after in series.gaps]
    return {
        "topic": series.topic,
        "unit": unit,
        "resolution": series.resolution,
        "points": series.points,
        "gaps": silent,
    }
