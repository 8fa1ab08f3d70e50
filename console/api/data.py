"""`POST /data`: readings by HTTP, of devices that no gateway polls; answered when it is known what the database has."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from console.access.door import Operator
from console.api.parameters import Moment, QualityName, Text, Topic
from console.historian import stored, times
from console.historian.stored import Found, Sent
from console.live import epoch
from console.live.numbered import Given
from console.parts import PartsDep
from console.problems import Problem
from nexus.contract import topic as topics
from nexus.contract.reading import Quality, Reading

MOST = 10_000
OLDEST, LATEST_AHEAD = timedelta(days=3_650), timedelta(hours=1)  # what ingesters store, if retention keeps it
_NAMED = 100  # readings, in a refusal
_LARGEST_INT = 2**64 - 1

Number = Annotated[int, Field(strict=True, ge=-_LARGEST_INT, le=_LARGEST_INT)]
Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]

router = APIRouter(tags=["data"])


class Stored(BaseModel):
    """How many readings are in the database now; `late` of them are merged into compressed chunks within minutes."""

    stored: int
    late: int = 0


class Posted(BaseModel):
    """One reading. A topic and a time make it one: the first to come with them is kept."""

    model_config = ConfigDict(extra="forbid")
    topic: Topic
    time: Moment
    value: Annotated[bool, Field(strict=True)] | Number | Float | Text | None
    unit: Annotated[Text, Field(max_length=200)] | None = None
    quality: QualityName = "good"


Readings = Annotated[list[Posted], Body(min_length=1, max_length=MOST)]


@router.post("/data")
async def data(readings: Readings, _: Operator, parts: PartsDep) -> Stored:
    """Stores readings, and answers with what the database has then; 503 with what is known if that takes too long.

    The same readings may be sent again: what is stored already stays as it is. 409 if one is not stored as it was sent:
    `different` are numbers of readings (from 0) of whose topic and time there is another value, `refused` those that
    are not there.
    """
    now = datetime.now(UTC)
    async with parts.database.connection() as connection:
        kept_from = max(now - OLDEST, await stored.kept_from(connection) or now - OLDEST)
    given = [_given(number, one, kept_from, now) for number, one in enumerate(readings)]
    sent = [_sent(one) for one in given]
    _check_repeated(sent)
    if taken := parts.plant.taken([one.topic for one in sent])[:5]:
        said = f"gateways poll {', '.join(taken)}, or what is there: post readings of other devices, below another path"
        raise Problem(409, "These devices are polled", said)
    await parts.plant.store(given)
    async with parts.database.connection() as connection:
        found = await stored.look(connection, sent)
    if found.different or found.refused:
        raise _not_all(readings, found)
    return Stored(stored=len(given), late=len(found.late))


def _sent(given: Given) -> Sent:
    reading = given.reading
    return Sent(topics.tag(given.path, reading.tag), reading.time, reading.value, reading.quality)


def _check_repeated(sent: Sequence[Sent]) -> None:
    """Refuses two values for one topic and time, of which the database would take either."""
    seen: dict[stored.Key, tuple[int, Sent]] = {}
    for number, one in enumerate(sent):
        first, same = seen.setdefault(one.key, (number, one))
        if (type(one.value), one.value, one.quality) != (type(same.value), same.value, same.quality):
            raise _refused(
                number, f"topic and time are those of {first}, with another value or quality: send one of them"
            )


def _not_all(readings: Sequence[Posted], found: Found) -> Problem:
    parts = []
    if found.different:
        first = readings[found.different[0]]
        parts.append(
            f"{len(found.different):,} have another value in the database, which stays, "
            f"like {first.topic} at {times.text(first.time)}"
        )
    if found.refused:
        first = readings[found.refused[0]]
        parts.append(
            f"{len(found.refused):,} are not in the database, like {first.topic} at {times.text(first.time)}: "
            "see GET rejects"
        )
    return Problem(
        409,
        "Not all are stored",
        f"of {len(readings):,} readings {' and '.join(parts)}",
        stored=len(found.stored) + len(found.late),
        late=len(found.late),
        different=found.different[:_NAMED],
        refused=found.refused[:_NAMED],
    )


def _given(number: int, one: Posted, kept_from: datetime, now: datetime) -> Given:
    path, _, tag = one.topic.removeprefix(topics.ROOT).rpartition("/")
    if not one.topic.startswith(topics.ROOT) or topics.name_fault(path, path=True) or topics.name_fault(tag):
        raise _refused(
            number, f"topic {one.topic[:100]!r} is no tag's: write it like dev/plant/line1/plc001/temperature"
        )
    if one.time > now + LATEST_AHEAD:
        raise _refused(number, "time must be no more than an hour ahead")
    if one.time < kept_from:
        raise _refused(number, f"time is before {times.text(kept_from.astimezone(UTC))}: what is older is not kept")
    quality = Quality.BAD if one.value is None else Quality[one.quality.upper()]
    return Given(path, Reading(tag, epoch.of(one.time), one.value, quality), one.unit)


def _refused(number: int, fault: str) -> Problem:
    return Problem(422, "The request is not valid", f"{number}: {fault}")
