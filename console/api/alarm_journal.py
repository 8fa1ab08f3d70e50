"""What happened to alarms, and how they served people: out of the database."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from console.access.door import Viewer
from console.api import answers
from console.api.alarm_model import Journal, Statistics
from console.api.parameters import FromYesterday, Text, To
from console.historian import alarms, times
from console.historian.alarms import Cursor, Which
from console.live import alarm_item, epoch
from console.live.alarm_item import AlarmItem
from console.parts import PartsDep
from console.problems import Problem

MOST = 1_000  # of a page
LONGEST = timedelta(days=92)  # of statistics
_DAY = timedelta(days=1)

_Kind = TypeVar("_Kind")

Identity = Annotated[Text, Path(max_length=6_000, description="`id` of an alarm")]
After = Annotated[Text, Query(max_length=6_000, description="`next` of the page before")]

router = APIRouter(tags=["alarms"])


@router.get("/alarms/statistics")
async def read_statistics(_: Viewer, parts: PartsDep, from_: FromYesterday = None, to: To = None) -> Statistics:
    """Of the last 24 hours, unless it is said; of 92 days at most."""
    start, stop = span(from_, to)
    if stop - start > LONGEST:
        raise Problem(422, "Too much", f"statistics are of {LONGEST.days} days at most: ask for a shorter range")
    async with parts.database.connection() as connection:
        return Statistics.model_validate(await alarms.statistics(connection, start, stop))


@router.get("/alarms/{id}/journal", response_model=Journal, responses=answers.LINES)
async def read_journal(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    id: Identity,  # noqa: A002  the API calls it so
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    after: After = "",
) -> Response:
    """All that is stored of an alarm, also of its other occurrences, the newest first."""
    which = Which(times.EARLIEST, times.LATEST, topic=identified(id)[0])
    async with parts.database.connection() as connection:
        items, following = await page(connection, which, after, limit)
    return answers.items(request, [msgspec.structs.asdict(one) for one in items], following)


async def page(connection: AsyncConnection, which: Which, after: str, limit: int) -> tuple[list[AlarmItem], str | None]:
    """Events, and where the next page begins. Raises Problem 422 for what is no `next`."""
    cursor = read(after, Cursor) if after else None
    found = await alarms.journal(connection, which, cursor, limit + 1)
    if len(found) <= limit:
        return [alarm_item.item(message) for message in found], None
    last = found[limit - 1]
    moment, began = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (last.record.ts, last.record.occurrence))
    following = written(Cursor(moment, last.topic, began, last.record.state))
    return [alarm_item.item(message) for message in found[:limit]], following


def span(start: datetime | None, stop: datetime | None) -> tuple[datetime, datetime]:
    """The range asked for; a day, up to some seconds from now, where it is not said. Raises Problem."""
    try:
        return times.span(start, stop, datetime.now(UTC) + timedelta(seconds=10), _DAY)
    except ValueError as error:
        raise Problem(422, "The request is not valid", str(error)) from None


def identified(identity: str) -> tuple[str, int]:
    """The topic and the occurrence that an alarm's id names. Raises Problem."""
    try:
        topic, occurrence = alarm_item.identified(identity)
        epoch.text(occurrence)
    except (ValueError, OverflowError):
        raise Problem(404, "No such alarm", "an alarm's id is what GET alarms gives as `id`") from None
    return topic, occurrence


def written(cursor: msgspec.Struct | tuple[object, ...]) -> str:
    """A cursor as `next` has it."""
    return urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def read(after: str, kind: type[_Kind]) -> _Kind:
    """The cursor that `next` had. Raises Problem."""
    try:
        text = urlsafe_b64decode(after.encode())
        if b"\\u0000" in text:  # the database has no such character
            raise ValueError(after)
        return msgspec.json.decode(text, type=kind)
    except (ValueError, msgspec.MsgspecError):
        raise Problem(422, "No such page", "`after` is the `next` of the page before, as it was given") from None
