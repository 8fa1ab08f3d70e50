"""`POST /data`: readings by HTTP, of devices that no gateway polls; answered when they are in the database."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from console.access.door import Operator
from console.api.parameters import Moment, Text, Topic
from console.live import epoch
from console.live.numbered import Given
from console.parts import PartsDep
from console.problems import Problem
from nexus.contract import topic as topics
from nexus.contract.reading import Quality, Reading

MOST = 10_000
OLDEST, LATEST_AHEAD = timedelta(days=3_650), timedelta(hours=1)  # what ingesters store
_LARGEST_INT = 2**64 - 1

Number = Annotated[int, Field(strict=True, ge=-_LARGEST_INT, le=_LARGEST_INT)]
Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]

router = APIRouter(tags=["data"])


class Stored(BaseModel):
    """How many readings are in the database now."""

    stored: int


class Posted(BaseModel):
    """One reading. A topic and a time make it one: the first to come with them is kept."""

    model_config = ConfigDict(extra="forbid")
    topic: Topic
    time: Moment
    value: Annotated[bool, Field(strict=True)] | Number | Float | Text | None
    unit: Annotated[Text, Field(max_length=200)] | None = None
    quality: Literal["good", "uncertain", "bad"] = "good"


Readings = Annotated[list[Posted], Body(min_length=1, max_length=MOST)]


@router.post("/data")
async def data(readings: Readings, _: Operator, parts: PartsDep) -> Stored:
    """Stores readings, and answers when they are committed; 503 with what is known if that takes too long.

    The same readings may be sent again: what is stored already stays as it is.
    """
    now = datetime.now(UTC)
    given = [_given(number, one, now) for number, one in enumerate(readings)]
    polled = sorted({one.path for one in given if parts.plant.is_polled(one.path)})
    if polled:
        said = f"a gateway polls {', '.join(polled[:5])}: post readings of other devices, below another path"
        raise Problem(409, "These devices are polled", said)
    await parts.plant.store(given)
    return Stored(stored=len(given))


def _given(number: int, one: Posted, now: datetime) -> Given:
    path, _, tag = one.topic.removeprefix(topics.ROOT).rpartition("/")
    if not one.topic.startswith(topics.ROOT) or topics.name_fault(path, path=True) or topics.name_fault(tag):
        raise _refused(
            number, f"topic {one.topic[:100]!r} is no tag's: write it like dev/plant/line1/plc001/temperature"
        )
    if not now - OLDEST <= one.time <= now + LATEST_AHEAD:
        raise _refused(number, "time must be within the last 10 years, and no more than an hour ahead")
    quality = Quality.BAD if one.value is None else Quality[one.quality.upper()]
    return Given(path, Reading(tag, epoch.of(one.time), one.value, quality), one.unit)


def _refused(number: int, fault: str) -> Problem:
    return Problem(422, "The request is not valid", f"{number}: {fault}")
