"""The audit: who did what, when, from where, and what was refused."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from console.access import trail
from console.access.door import Operator
from console.access.trail import Cursor, Entry
from console.api.parameters import Text
from console.parts import PartsDep
from console.problems import Problem

router = APIRouter(tags=["audit"])

_LONGEST = timedelta(days=36_500)


Word = Annotated[Text, Query(max_length=2_000)]


class AuditPage(BaseModel):
    """Rows, the newest first; `next` is for the parameter `after`, and null on the last page."""

    items: list[Entry]
    next: str | None


@router.get("/audit")
async def read_audit(
    parts: PartsDep,
    _: Operator,
    *,
    person: Word | None = None,
    topic: Word | None = None,
    event: Word | None = None,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=500)] = None,
) -> AuditPage:
    """Logins, changes, writes and refusals, here and on the gateways."""
    now = datetime.now(UTC)
    which = trail.Which(
        person=person,
        topic=topic,
        event=event,
        since=since or now - _LONGEST,
        until=until or now + timedelta(days=1),
    )
    async with parts.database.connection() as connection:
        found = await trail.page(connection, which, None if after is None else _read(after), limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    return AuditPage(items=found[:limit], next=last and _written(last))


def _written(last: Entry) -> str:
    return urlsafe_b64encode(msgspec.json.encode(Cursor(last.time, last.source, last.key))).decode()


def _read(after: str) -> Cursor:
    try:
        found = msgspec.json.decode(urlsafe_b64decode(after.encode()), type=Cursor)
        if found.time.tzinfo is None or "\0" in found.source + found.key:
            raise ValueError(after)
    except (ValueError, msgspec.MsgspecError):
        raise Problem(422, "No such page", "`after` is the `next` of the page before, as it was given") from None
    return found
