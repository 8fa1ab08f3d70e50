"""Which retained words to go on from, and which are to be overwritten. Pure."""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from nexus.alarms.machine import AHEAD_MS
from nexus.contract import alarm
from nexus.contract import topic as topics
from nexus.contract.alarm import Word
from nexus.contract.codec import DecodeError

Key = tuple[str, str]
Fault = Literal["forged", "older", "unknown"]


class Judgement(msgspec.Struct):
    """Words to go on from, by tag and name; `stale` are words of alarms that are in no file any more.

    `faults` has, by topic, why a retained word does not count.
    """

    words: dict[Key, Word]
    stale: list[Word]
    faults: dict[str, Fault]


def judge(
    path: str,
    alarms: Collection[Key],
    own: Mapping[Key, Word],
    retained: Mapping[str, bytes],
    *,
    now: int,
    own_wins: bool,
) -> Judgement:
    """Of a device's `alarms`: `own` words against `retained` ones, by topic; the newer counts unless `own_wins`."""
    found = Judgement({key: word for key, word in own.items() if key in alarms}, [], {})
    keys = {topics.alarm(path, *key): key for key in alarms}
    for topic, payload in retained.items():
        try:
            word = replace(alarm.decode(topic, payload), publisher=None, numbers=(0, -1))  # these were of its sender
        except DecodeError:
            if topic in keys:  # otherwise it may be another device's
                found.faults[topic] = "forged"
            continue
        if word.device != path:
            if topic in keys:
                found.faults[topic] = "forged"
            continue
        if (key := keys.get(topic)) is None:
            found.faults[topic] = "unknown"
            found.stale.append(word)
        elif fault := _fault(word, own.get(key), now, own_wins):
            found.faults[topic] = fault
        else:
            found.words[key] = word
    return found


def _fault(word: Word, own: Word | None, now: int, own_wins: bool) -> Fault | None:
    record = word.record
    if max(record.ts, record.occurrence, record.since) > now + AHEAD_MS:
        return "forged"
    if own is not None and own.record.ts > record.ts:
        return "older"
    return "forged" if own_wins and (own is None or own.record != record) else None
