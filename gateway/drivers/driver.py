"""THE SEAM between the gateway and the protocols: Driver, Device, Tag, Link, DeviceError."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from math import isfinite, ulp
from typing import Any, Protocol

from pydantic import BaseModel

from gateway.polling.report import Report
from nexus.contract.reading import Quality, Reading, Value

LARGEST_NOISE = 0.01  # of a raw step; a scale that is finer than floats are is not guessed at


class DeviceError(Exception):
    """The device is lost for now: leave the connection and enter a new one. The text is for the operator.

    `silent_for` is how many seconds ago the device was last heard, where it tells by itself. `readings` are those that
    the scan got before: they are good, and only the others are asked for again. `again_in` is how many seconds from now
    its turn comes, where it was not asked because others share its line.
    """

    def __init__(
        self,
        text: str,
        *,
        silent_for: float = 0.0,
        readings: "Sequence[Reading]" = (),
        again_in: float | None = None,
    ) -> None:
        super().__init__(text)
        self.silent_for = silent_for
        self.readings = readings
        self.again_in = again_in


class WriteError(Exception):
    """The device is there, but does not take this value. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One value of a device. `address` is the driver's own Address; `interval` in seconds; limits in the tag's unit."""

    name: str
    address: Any
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    interval: float = 1.0
    report: Report | None = None
    writable: bool = False
    low: float | None = None
    high: float | None = None
    _divisor: float | None = field(init=False, default=None, repr=False)
    _is_scaled: bool = field(init=False, default=False, repr=False)

    def __post_init__(self) -> None:
        # 3 * 0.1 is 0.30000000000000004, but 3 / 10 is 0.3: divide where the scale is one over an integer.
        inverse = 1 / self.scale
        if self.scale != 1 and isfinite(inverse) and abs(inverse - round(inverse)) < 1e-9 and abs(inverse) > 1:
            object.__setattr__(self, "_divisor", float(round(inverse)))
        object.__setattr__(self, "_is_scaled", self.scale != 1 or self.offset != 0)

    def reading(self, raw: Value, time: int) -> Reading:
        """A good reading of `raw`, scaled if it is a number, at `time` (epoch ms)."""
        if self._is_scaled and isinstance(raw, int | float) and not isinstance(raw, bool):
            scaled = raw / self._divisor if self._divisor is not None else raw * self.scale
            return Reading(self.name, time, scaled + self.offset)
        return Reading(self.name, time, raw)

    def raw(self, value: Value) -> Value:
        """What the device must hold for the tag to say `value`: the scaling, backwards. Raises WriteError."""
        if not self._is_scaled or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        try:
            unshifted = float(value) - self.offset
            raw = unshifted * self._divisor if self._divisor is not None else unshifted / self.scale
        except OverflowError:
            raw = float("inf")
        if not isfinite(raw):
            raise WriteError(f"tag {self.name} takes numbers that are finite after scaling by {self.scale:g}")
        return self._without_noise(raw, max(abs(value), abs(self.offset)))

    def _without_noise(self, raw: float, largest: float) -> float:
        """82.3 / 0.1 may be 822.9999999999999: whole, as far as floats can tell. 822.9 is not."""
        noise = 4 * (ulp(float(largest)) / abs(self.scale) + ulp(raw))
        return float(round(raw)) if abs(raw - round(raw)) <= min(noise, LARGEST_NOISE) else raw

    def bad(self, time: int) -> Reading:
        """What is said of a tag that could not be read."""
        return Reading(self.name, time, None, Quality.BAD)


@dataclass(frozen=True, slots=True)
class Device:
    """What a driver is told: `settings` is an instance of its own Settings; `timeout` in seconds."""

    name: str
    path: str
    protocol: str
    timeout: float
    settings: Any
    tags: tuple[Tag, ...]


# Reads tags, all from one device, in one scan: a reading for each, in any order. A tag that the device refuses has bad
# quality. Raises DeviceError when the device is lost.
Read = Callable[[Sequence[Tag]], Awaitable[list[Reading]]]

# Writes a raw value, and gives it as the device holds it now if it did as told (a float32 is rounded to one). Raises
# WriteError when the value is none of the tag's type or the device refuses it, DeviceError when the device is lost.
Write = Callable[[Tag, Value], Awaitable[Value]]

# Waits for the next changes that the device tells of by itself. Raises DeviceError. May be cancelled, losing nothing.
Hear = Callable[[], Awaitable[list[Reading]]]


@dataclass(frozen=True, slots=True)
class Link:
    """What can be done with a connected device; one that is heard is not polled.

    `refusals` says, by tag, why the device does not give it; the driver adds to it as it learns. `certificate_days`
    is how long our certificate is still valid, where there is one. `waited` gives the seconds that requests have waited
    so far for others, on a line that is shared: a scan's deadline does not count them.
    """

    read: Read
    write: Write
    hear: Hear | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)
    certificate_days: float | None = None
    waited: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a read plan, for people: `wasted` of `size` in `unit`; `seconds` on the bus, where known."""

    text: str
    tags: tuple[str, ...]
    size: int
    wasted: int
    unit: str
    interval: float
    seconds: float | None = None


class Driver(Protocol):
    """What a module in `gateway/drivers/` holds.

    `SETTINGS` has, for each protocol that the module speaks, the model of a device's own keys; `parse_address` turns a
    tag's `address` into what the driver wants, raising ValueError that says what would be right; `connect` gives a Link
    for as long as its block runs; `requests` is the read plan as far as it is known without the device; `bus` names the
    line that devices share if its speed is known, and is None elsewhere.
    """

    @property
    def SETTINGS(self) -> Mapping[str, type[BaseModel]]: ...  # noqa: N802  a constant, named as one

    def parse_address(self, text: str, settings: Any, /, *, writable: bool = False) -> Any: ...

    def connect(self, device: Device, /) -> AbstractAsyncContextManager[Link]: ...

    def requests(self, device: Device, /) -> list[Request]: ...

    def bus(self, settings: Any, /) -> str | None: ...
