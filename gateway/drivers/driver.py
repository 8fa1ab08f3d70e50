"""THE SEAM between the gateway and the protocols: Driver, Device, Tag, DeviceSession, DeviceError.

Each driver has its own types of settings and addresses. To all others they are opaque: a bare `Tag` or `Driver` is one
whose addresses nobody looks into; they come from a driver, and go back to it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from math import isfinite, ulp
from typing import Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from nexus.contract.reading import Quality, Reading, Value
from nexus.readings.report import Report

SettingsT = TypeVar("SettingsT", bound=BaseModel, default=BaseModel)
AddressT = TypeVar("AddressT", default=object)

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
class Tag(Generic[AddressT]):
    """One value of a device; `interval` in seconds; limits in the tag's unit; its address as `written` in the file."""

    name: str
    address: AddressT
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    interval: float = 1.0
    report: Report | None = None
    writable: bool = False
    low: float | None = None
    high: float | None = None
    written: str = field(default="", repr=False)  # not part of what gateways compare
    _divisor: float | None = field(init=False, default=None, repr=False)
    is_scaled: bool = field(init=False, default=False, repr=False)

    def __post_init__(self) -> None:
        # 3 * 0.1 is 0.30000000000000004, but 3 / 10 is 0.3: divide where the scale is one over an integer.
        inverse = 1 / self.scale
        if self.scale != 1 and isfinite(inverse) and abs(inverse - round(inverse)) < 1e-9 and abs(inverse) > 1:
            object.__setattr__(self, "_divisor", float(round(inverse)))
        object.__setattr__(self, "is_scaled", self.scale != 1 or self.offset != 0)

    def reading(self, raw: Value, time: int) -> Reading:
        """A good reading of `raw`, scaled if it is a number, at `time` (epoch ms)."""
        if self.is_scaled and isinstance(raw, int | float) and not isinstance(raw, bool):
            scaled = raw / self._divisor if self._divisor is not None else raw * self.scale
            return Reading(self.name, time, scaled + self.offset)
        return Reading(self.name, time, raw)

    def raw(self, value: Value) -> Value:
        """What the device must hold for the tag to say `value`: the scaling, backwards. Raises WriteError."""
        if not self.is_scaled or isinstance(value, bool) or not isinstance(value, int | float):
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
class Device(Generic[SettingsT, AddressT]):
    """What a driver is told; `timeout` in seconds."""

    name: str
    path: str
    protocol: str
    timeout: float
    settings: SettingsT
    tags: tuple[Tag[AddressT], ...]


# One scan: a reading for each of the tags that it was compiled for, in any order. A tag that the device refuses has bad
# quality. Raises DeviceError when the device is lost.
Read = Callable[[], Awaitable[list[Reading]]]

# Waits for the next changes that the device tells of by itself. Raises DeviceError. May be cancelled, losing nothing.
NextChanges = Callable[[], Awaitable[list[Reading]]]


@dataclass(frozen=True, slots=True)
class DeviceSession(Generic[AddressT]):
    """What can be done with a connected device; one that is heard is not polled.

    `compile` plans how tags are read, once; the plan remembers what the device refuses. `write` writes a raw
    value, and gives it as the device holds it now if it did as told (a float32 is rounded to one); it raises WriteError
    when the value is none of the tag's type or the device refuses it, DeviceError when the device is lost.

    `tag_errors` says, by tag, why the device does not give it; the driver adds to it as it learns. `certificate_days`
    is how long our certificate is still valid, where there is one. `waited` gives the seconds that requests have waited
    so far for others, on a line that is shared: a scan's deadline does not count them. `rest` gives the seconds that
    the next scan must wait, because this device took such a line for longer than the others can spare.
    """

    compile: Callable[[Sequence[Tag[AddressT]]], Read]
    write: Callable[[Tag[AddressT], Value], Awaitable[Value]]
    next_changes: NextChanges | None = None
    tag_errors: Mapping[str, str] = field(default_factory=dict)
    certificate_days: float | None = None
    waited: Callable[[], float] | None = None
    rest: Callable[[], float] = lambda: 0.0


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


@dataclass(frozen=True, slots=True)
class Extent:
    """What a tag takes of a device's memory: `count` registers or bytes of a table or block, from `start`."""

    space: str
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


def _one_by_interval(device: Device[SettingsT, AddressT]) -> list[Request]:
    """A plan of which nothing is known but which tags are due together."""
    found: dict[float, list[str]] = {}
    for tag in device.tags:
        found.setdefault(tag.interval, []).append(tag.name)
    return [
        Request(f"read {len(names)} tags", tuple(names), len(names), 0, "tags", interval)
        for interval, names in sorted(found.items())
    ]


@dataclass(frozen=True)
class Driver(Generic[SettingsT, AddressT]):
    """What the module of a protocol offers, as its `DRIVER`.

    `settings` has, for each protocol that the module speaks, the model of a device's own keys. `parse_address` turns a
    tag's `address` into what the driver wants, for writing too if so told; it raises ValueError that says what would be
    right. `connect` gives a session for as long as its block runs, and raises DeviceError.

    `requests` is the read plan as far as it is known without the device. `bus` names the line that devices share if its
    speed is known. `extent` is where in its memory an address lies, if it is not a bit and memory is what the protocol
    has. `is_number` is false for an address whose values are booleans or strings. `address_pattern` and
    `address_examples` are for editors.

    For people, `endpoint` says where a device is, without secrets, and `type_of` what kind of value an address has,
    where it tells that.
    """

    settings: Mapping[str, type[SettingsT]]
    parse_address: Callable[[str, SettingsT, bool], AddressT]
    connect: Callable[[Device[SettingsT, AddressT]], AbstractAsyncContextManager[DeviceSession[AddressT]]]
    requests: Callable[[Device[SettingsT, AddressT]], list[Request]] = _one_by_interval
    bus: Callable[[SettingsT], str | None] = lambda _: None
    extent: Callable[[AddressT], Extent | None] = lambda _: None
    is_number: Callable[[AddressT], bool] = lambda _: True
    endpoint: Callable[[SettingsT], str] = lambda _: ""
    type_of: Callable[[AddressT], str | None] = lambda _: None
    address_pattern: str | None = None
    address_examples: tuple[str, ...] = ()
