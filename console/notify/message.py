"""A notification as it leaves, and its JSON. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from console.live import alarm_item, epoch
from console.notify.event import told_as
from console.notify.summary import Summary
from nexus.contract.alarm import AlarmMessage

Kind = Literal["event", "escalation", "digest", "test"]


@dataclass(frozen=True)
class Message:
    """What one receiver is told; of a digest `summary`, of all others but a test `word`. A mail goes to `recipients`
    alone, where some have it."""

    key: str
    receiver: str
    route: str
    kind: Kind
    is_late: bool = False
    word: AlarmMessage | None = None
    summary: Summary | None = None
    recipients: tuple[str, ...] | None = None


def body(message: Message) -> bytes:
    """As webhooks and MQTT have it; times as the API writes them."""
    content: dict[str, Any] = {
        "key": message.key,
        "kind": message.kind,
        "receiver": message.receiver,
        "route": message.route,
        "late": message.is_late,
    }
    if message.word is not None:
        content["told"] = told_as(message.word) or message.word.event
        content["alarm"] = alarm_item.item(message.word)
    if (found := message.summary) is not None:
        times = {"first": epoch.text(found.first), "last": epoch.text(found.last)}
        content["digest"] = {**msgspec.structs.asdict(found), **times}
    return msgspec.json.encode(content)
