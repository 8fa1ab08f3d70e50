"""What a gateway counted of a device's readings, by the hour of their times: `completeness/{device path}`, numbered."""

from typing import Annotated

import msgspec
from msgspec import Meta

from nexus.contract import sequence
from nexus.contract.codec import DecodeError

ROOT = "completeness/"
HOUR_MS = 3_600_000
MOST_ROWS = 200  # of a message
_LATEST_MS = 253_402_214_400_000

_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Ms = Annotated[int, Meta(ge=0, lt=_LATEST_MS)]


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hour, which began at `hour`, counted by one `run` of a gateway from `since` to `until`; times in epoch ms.

    Counts only grow, so the last message of a run about an hour includes the earlier ones. Of the readings that were
    due, some were `read`; the others were not, because the device was `away`, its breaker let it `rest`, or scans
    `overran`. Of those read, and those `marked` bad without being read, some were suppressed (report by exception); the
    others were `sent`. Of these, some are `receipted`: they are in the database. Some are `repeated`, with tag and time
    of an earlier one, and so have no row of their own; some were `dropped`, due to the spool's limits or by the broker.
    """

    hour: Annotated[int, Meta(ge=0, lt=_LATEST_MS, multiple_of=HOUR_MS)]
    run: Annotated[str, Meta(pattern="^[0-9a-f]{8,40}$")]
    since: _Ms
    until: _Ms
    read: _Count = 0
    marked: _Count = 0
    sent: _Count = 0
    repeated: _Count = 0
    receipted: _Count = 0
    dropped: _Count = 0
    away: _Count = 0
    resting: _Count = 0
    overran: _Count = 0


class _Payload(msgspec.Struct, omit_defaults=True):
    gateway: Annotated[str, Meta(max_length=300)]
    rows: Annotated[list[Counts], Meta(max_length=MOST_ROWS)]
    ended: bool = False
    p: str | None = None
    n: int = 0


class Completeness(msgspec.Struct, frozen=True):
    """A message of `gateway` about a device; `ended` if the device has left the files, and nothing is due any more."""

    device: str
    gateway: str
    rows: list[Counts]
    ended: bool = False
    publisher: str | None = None
    numbers: tuple[int, int] = (0, -1)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Payload)


def topic(path: str) -> str:
    """Topic of a device's counts."""
    return f"{ROOT}{path}"


def encode_completeness(gateway: str, rows: list[Counts], *, ended: bool = False) -> bytes:
    """Payload of a completeness topic, not numbered yet."""
    return _encoder.encode(_Payload(gateway, rows, ended))


def decode_completeness(name: str, payload: bytes) -> Completeness:
    """Reads the counts that came on this topic. Raises DecodeError."""
    try:
        found = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no counts of a device: {error}") from None
    if "\0" in found.gateway or any("\ud800" <= letter <= "\udfff" for letter in found.gateway):
        raise DecodeError("no counts of a device: the gateway's name has characters that the database cannot hold")
    publisher, numbers, _ = sequence.numbers(found.p, found.n, None, 1)
    return Completeness(name.removeprefix(ROOT), found.gateway, found.rows, found.ended, publisher, numbers)
