"""Alarms that stand, from the broker as long as it is there."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
import psycopg
from fastapi import APIRouter, Query, Request
from psycopg_pool import PoolTimeout
from starlette.responses import Response

from console.access.door import Viewer
from console.api import answers
from console.api.alarm_journal import MOST, After, page, read, span, written
from console.api.alarm_model import AlarmPage
from console.api.parameters import FromYesterday, Text, To
from console.historian import alarms as stored
from console.historian.alarms import Which
from console.live import alarm_item, alarms
from console.live.alarm_item import PRIORITIES, Urgency
from console.parts import Parts, PartsDep
from nexus.contract.alarm import AlarmMessage, Priority

Listed = Literal["active", "shelved", "history"]

router = APIRouter(tags=["alarms"])


@router.get("/alarms", response_model=AlarmPage, responses=answers.LINES)
async def list_alarms(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    state: Annotated[Listed, Query(description="`shelved` has what is suppressed or out of service, too")] = "active",
    device: Annotated[Text, Query(max_length=2_000, description="This one's, and those of what is below it")] = "",
    priority: Annotated[Priority | None, Query()] = None,
    q: Annotated[Text, Query(max_length=200, description="Words that are all in the topic or the text")] = "",
    from_: FromYesterday = None,
    to: To = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    after: After = "",
) -> Response:
    """Those that wait for a person first, by priority; `history` has events, the newest first, of the last 24 hours."""
    standing, missing = await _standing(parts)
    is_live = "broker" not in missing
    words = q.lower().split()
    if state == "history":
        which = Which(*span(from_, to), device=device, priority=priority, words=words)
        async with parts.database.connection() as connection:
            items, following = await page(connection, which, after, limit)
    else:
        listed = _within(standing, from_, to) if from_ or to else standing
        found = [
            message
            for message in listed
            if alarm_item.is_hidden(message) == (state == "shelved") and _is_meant(message, device, priority, words)
        ]
        start = bisect_right(found, read(after, Urgency), key=alarm_item.urgency) if after else 0
        shown = found[start : start + limit]
        items = [alarm_item.item(one, suppressed=one.record.suppressed if is_live else None) for one in shown]
        following = written(alarm_item.urgency(shown[-1])) if start + limit < len(found) else None
    rows = [msgspec.structs.asdict(item) for item in items]
    return answers.items(request, rows, following, counts=_counts(standing), missing=missing)


async def _standing(parts: Parts) -> tuple[list[AlarmMessage], list[str]]:
    """All that are not normal, the most urgent first, and what is away."""
    known = parts.plant.alarms
    if parts.plant.hears_alarms:
        return known.in_order(), ["alarms beyond what the console keeps"] if known.is_full else []
    if parts.database.reason is not None:
        return known.in_order(), ["broker", "database"]  # nobody waits for what was away when it was looked at last
    try:
        async with parts.database.brief() as connection:
            found = await stored.now(connection, alarms.MOST)
    except (psycopg.Error, PoolTimeout, TimeoutError):
        return known.in_order(), ["broker", "database"]
    return sorted(found, key=alarm_item.urgency), ["broker"]


def _is_meant(message: AlarmMessage, device: str, priority: Priority | None, words: Sequence[str]) -> bool:
    if priority is not None and message.priority != priority:
        return False
    if device and message.device != device and not message.device.startswith(f"{device}/"):
        return False
    where = f"{message.topic} {message.text}".lower()
    return all(word in where for word in words)


def _within(messages: Sequence[AlarmMessage], start: datetime | None, stop: datetime | None) -> list[AlarmMessage]:
    """Those whose occurrence began then."""
    first, last = (None if moment is None else moment.timestamp() * 1000 for moment in (start, stop))
    return [
        message
        for message in messages
        if (first is None or message.record.occurrence >= first) and (last is None or message.record.occurrence < last)
    ]


def _counts(messages: Sequence[AlarmMessage]) -> dict[str, object]:
    shown = [message for message in messages if not alarm_item.is_hidden(message)]
    by_priority = Counter(message.priority for message in shown)
    return {
        "unacknowledged": sum(map(alarm_item.is_calling, shown)),
        "active": len(shown),
        "shelved": len(messages) - len(shown),
        "by_priority": {priority: by_priority[priority] for priority in PRIORITIES},
    }
