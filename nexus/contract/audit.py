"""Audit records: who wrote what, and the outcome. `audit/{device path}/{tag}`, numbered like one reading."""

import re
from typing import Any

import msgspec

from nexus.contract import sequence
from nexus.contract.codec import DecodeError

ROOT = "audit/"
LONGEST_NAME = 200  # characters of `event` and `by`
LATEST_MS = 253_402_214_400_000  # the last day of 9999: many clients of the database fail on later times

_DEEPEST = 50  # lists and objects within each other

_ID = re.compile(r"[0-9a-f]{32}")
_OWN = ("id", "ts", "event", "by", "ok", "p", "n", "m")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One recorded action; `time` in epoch ms. `detail` is the rest of the payload, as JSON."""

    id: str
    time: int
    topic: str
    event: str
    by: str | None
    ok: bool | None
    detail: str
    publisher: str | None = None
    numbers: tuple[int, int] = (0, -1)


class _In(msgspec.Struct, gc=False):
    id: str
    ts: int | float
    event: str
    by: str | None = None
    ok: bool | None = None


_whole = msgspec.json.Decoder(dict[str, Any])


def decode(topic: str, payload: bytes) -> Record:
    """Reads an audit record. Raises DecodeError."""
    try:
        content = _whole.decode(payload)
        known = msgspec.convert(content, _In)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"not an audit record: {error}") from None
    if not _ID.fullmatch(known.id):
        raise DecodeError("not an audit record: id is not 32 hex digits")
    for name, text in (("event", known.event), ("by", known.by or "")):
        if len(text) > LONGEST_NAME or "\0" in text:
            raise DecodeError(f"not an audit record: {name} is longer than {LONGEST_NAME} characters, or holds NUL")
    if not 0 <= known.ts < LATEST_MS:
        raise DecodeError("not an audit record: ts is not a time in milliseconds")
    publisher, numbers, _ = sequence.numbers(content.get("p"), content.get("n"), content.get("m"), 1)
    rest = {name: value for name, value in content.items() if name not in _OWN}
    detail = msgspec.json.encode(_clean(rest)).decode()
    time = int(known.ts)
    return Record(known.id, time, topic, known.event, known.by, known.ok, detail, publisher, numbers)


def _clean(value: Any, left: int = _DEEPEST) -> Any:
    """The value without NUL characters, which the database cannot store. Raises DecodeError."""
    if isinstance(value, str):
        return value.replace("\0", "�")
    if not isinstance(value, list | dict):
        return value
    if not left:
        raise DecodeError(f"not an audit record: it is nested deeper than {_DEEPEST} levels")
    if isinstance(value, list):
        return [_clean(one, left - 1) for one in value]
    return {_clean(name): _clean(one, left - 1) for name, one in value.items()}
