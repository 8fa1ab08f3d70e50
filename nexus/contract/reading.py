"""A reading: one tag's value at one moment."""

from enum import IntEnum

import msgspec

Value = float | int | bool | str | None


class Quality(IntEnum):
    """OPC classic quality, as stored: the top two bits of the status byte."""

    BAD = 0
    UNCERTAIN = 64
    GOOD = 192


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One tag's value. `time` is in UTC epoch milliseconds; `quality` is 0 to 255, usually a `Quality`."""

    tag: str
    time: int
    value: Value
    quality: int = Quality.GOOD
