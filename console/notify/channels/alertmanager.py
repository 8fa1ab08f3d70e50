"""Prometheus' Alertmanager: it holds what stands itself, is told again before it forgets, and told the end."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
from pydantic import AfterValidator, BaseModel, Field

from console.live import epoch
from console.notify.channels.http import post
from console.notify.channels.names import Names
from console.notify.channels.outcome import RefusedError
from console.notify.channels.parts import STRICT, Url
from console.notify.event import is_firing, key_of
from console.notify.message import Message
from nexus.contract.alarm import AlarmMessage
from nexus.process.duration import Seconds

_LIVES = 4  # times the pause between two that say the same
_MOST = 200  # of one request


def _base(url: str) -> str:
    base, _, version = url.partition("/api/v")
    if version[:1].isdigit():
        raise ValueError(f"leave /api/v2 out, for it is added: write {base}")
    return url


class Alertmanager(BaseModel):
    """`alertmanager:` of a receiver; `url` without /api/v2. What stands is told again every `resend`."""

    model_config = STRICT
    url: Annotated[Url, AfterValidator(_base)]
    labels: dict[str, str] = {}
    username: str | None = None
    password: str | None = None
    password_file: Path | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: Seconds = Field(10.0, gt=0, le=60)
    resend: Seconds = Field(60.0, ge=1, le=3600)


async def send(settings: Alertmanager, message: Message, address: str | None, names: Names) -> str:
    """What it answers. Raises LaterError and RefusedError."""
    if message.word is None:
        labels = {**settings.labels, "alertname": "NexusEdgeTest", "receiver": message.receiver}
        now = datetime.now(UTC)
        test = {"labels": labels, "annotations": {"summary": "Test of a receiver"}}
        return await _post(settings, [test | _times(now, now + timedelta(minutes=1))], names)
    return await tell(settings, message.receiver, [message.word], address, names)


async def tell(
    settings: Alertmanager, receiver: str, words: Sequence[AlarmMessage], address: str | None, names: Names
) -> str:
    """Tells the states of alarms, the rest also where some are refused. Raises LaterError and RefusedError."""
    now, said, refused = datetime.now(UTC), "nothing to tell", None
    for start in range(0, len(words), _MOST):
        part = [alert(settings, receiver, word, address, now) for word in words[start : start + _MOST]]
        try:
            said = await _post(settings, part, names)
        except RefusedError as error:
            refused = error
    if refused is not None:
        raise refused
    return said


def alert(
    settings: Alertmanager, receiver: str, word: AlarmMessage, address: str | None, now: datetime
) -> dict[str, Any]:
    """Its labels are the alarm's alone, so that all that is said of an alarm is about the same alert."""
    record = word.record
    began = min(datetime.fromtimestamp(record.occurrence / 1000, UTC), now)  # a gateway's clock may be ahead of ours
    ends = now + timedelta(seconds=_LIVES * settings.resend)
    if not is_firing(word):
        ends = max(min(datetime.fromtimestamp(record.ts / 1000, UTC), now), began)
    labels = {
        **settings.labels,
        "alertname": word.name,
        "topic": word.topic,
        "device": word.device,
        "tag": word.tag,
        "severity": word.priority,
    }
    notes = {
        "summary": word.text or word.name,
        "response": word.response,
        "state": record.state,
        "event": word.event,
        "value": "" if record.value is None else f"{record.value}{f' {word.unit}' if word.unit else ''}",
        "occurrence": epoch.text(record.occurrence),
        "key": key_of(word, receiver),
    }
    found = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in notes.items() if value},
        **_times(began, ends),
    }
    return found | ({"generatorURL": f"{address}/alarms"} if address else {})


def _times(start: datetime, end: datetime) -> dict[str, str]:
    return {"startsAt": start.isoformat(), "endsAt": end.isoformat()}


async def _post(settings: Alertmanager, alerts: list[dict[str, Any]], names: Names) -> str:
    headers = {"Content-Type": "application/json", "User-Agent": "nexus-edge"}
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token}"
    elif settings.username is not None:
        headers["Authorization"] = aiohttp.encode_basic_auth(settings.username, settings.password or "")
    url = f"{settings.url.rstrip('/')}/api/v2/alerts"
    return await post(url, msgspec.json.encode(alerts), headers, settings.timeout, settings.ca_file, names=names)
