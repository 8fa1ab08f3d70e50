"""Decides which retained messages to continue from, and which to overwrite. Pure."""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from nexus.alarms.machine import AHEAD_MS
from nexus.contract import alarm
from nexus.contract import topic as topics
from nexus.contract.alarm import AlarmMessage
from nexus.contract.codec import DecodeError

Key = tuple[str, str]
Fault = Literal["forged", "older", "unknown"]


class Judgement(msgspec.Struct):
    """Messages to continue from, by tag and name; `stale` ones are of alarms that are no longer in any file.

    `faults` says, by topic, why a retained message is ignored.
    """

    messages: dict[Key, AlarmMessage]
    stale: list[AlarmMessage]
    faults: dict[str, Fault]


def judge(
    path: str,
    alarms: Collection[Key],
    own: Mapping[Key, AlarmMessage],
    retained: Mapping[str, bytes],
    *,
    now: int,
    own_wins: bool,
) -> Judgement:
    """Compares a device's `own` messages with the `retained` ones, by topic; the newer counts unless `own_wins`."""
    found = Judgement({key: message for key, message in own.items() if key in alarms}, [], {})
    keys = {topics.alarm(path, *key): key for key in alarms}
    for topic, payload in retained.items():
        try:
            message = replace(alarm.decode(topic, payload), publisher=None, numbers=(0, -1))  # those of its sender
        except DecodeError:
            if topic in keys:  # otherwise it may be another device's
                found.faults[topic] = "forged"
            continue
        if message.device != path:
            if topic in keys:
                found.faults[topic] = "forged"
            continue
        if (key := keys.get(topic)) is None:
            found.faults[topic] = "unknown"
            found.stale.append(message)
        elif fault := _fault(message, own.get(key), now, own_wins):
            found.faults[topic] = fault
        else:
            found.messages[key] = message
    return found


def _fault(message: AlarmMessage, own: AlarmMessage | None, now: int, own_wins: bool) -> Fault | None:
    record = message.record
    if max(record.ts, record.occurrence, record.since) > now + AHEAD_MS:
        return "forged"
    if own is not None and own.record.ts > record.ts:
        return "older"
    return "forged" if own_wins and (own is None or own.record != record) else None
