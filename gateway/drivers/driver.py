"""The interface between the gateway and the protocols: Driver, Device, Tag, DeviceSession, DeviceError.

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
from nexus.contract.status import TroubleKind
from nexus.readings.report import Report

SettingsT = TypeVar("SettingsT", bound=BaseModel, default=BaseModel)
AddressT = TypeVar("AddressT", default=object)

LARGEST_NOISE = 0.01  # of a raw step; finer differences are noise of floats


class DeviceError(Exception):
    """The device is lost for now: leave the connection and open a new one. The text is for the operator.

    `silent_for` is how many seconds ago the device last reported, for devices that report changes. `readings` are those
    that the scan already had: they are good, and only the others are read again. `again_in` is in how many seconds its
    turn comes, if it was not asked because others share its line. `kind` tells the console what to advise.
    """

    def __init__(
        self,
        text: str,
        *,
        silent_for: float = 0.0,
        readings: "Sequence[Reading]" = (),
        again_in: float | None = None,
        kind: TroubleKind = "",
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.silent_for = silent_for
        self.readings = readings
        self.again_in = again_in


class WriteError(Exception):
    """The device answers, but does not accept this value. The text is for the operator."""


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
    written: str = field(default="", repr=False)  # not part of a definition that gateways compare
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
        """The raw value that the tag shows as `value`: scaling inverted. Raises WriteError."""
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
        """The reading of a tag that could not be read."""
        return Reading(self.name, time, None, Quality.BAD)


@dataclass(frozen=True, slots=True)
class Device(Generic[SettingsT, AddressT]):
    """A device as its driver sees it; `timeout` in seconds."""

    name: str
    path: str
    protocol: str
    timeout: float
    settings: SettingsT
    tags: tuple[Tag[AddressT], ...]


# One scan: returns a reading for each tag that it was compiled for, in any order; a tag that the device refuses has bad
# quality. Raises DeviceError when the device is lost.
Read = Callable[[], Awaitable[list[Reading]]]

# Waits for the next changes that the device reports. Raises DeviceError. Can be cancelled without losing any.
NextChanges = Callable[[], Awaitable[list[Reading]]]


@dataclass(frozen=True, slots=True)
class DeviceSession(Generic[AddressT]):
    """A session with a connected device. With `next_changes`, the device reports changes and is not polled.

    `compile` plans how tags are read, once; the plan remembers what the device refuses. `write` writes a raw value and
    returns what the device should hold now (a float32 is rounded, for example); it raises WriteError when the value
    does not fit the tag's type or the device refuses it, DeviceError when the device is lost.

    `tag_errors` says, by tag, why the device does not deliver it, and `tag_kinds` of which kind the reason is, where it
    is one of those; the driver adds to them as it learns. `certificate_days` is how long our certificate is still
    valid, if there is one. `waited` returns how many seconds requests have waited for others on a shared line: a scan's
    deadline does not count them. `rest` returns how many seconds the next scan has to wait, because this device took a
    shared line for longer than the others can spare.
    """

    compile: Callable[[Sequence[Tag[AddressT]]], Read]
    write: Callable[[Tag[AddressT], Value], Awaitable[Value]]
    next_changes: NextChanges | None = None
    tag_errors: Mapping[str, str] = field(default_factory=dict)
    certificate_days: float | None = None
    waited: Callable[[], float] | None = None
    rest: Callable[[], float] = lambda: 0.0
    tag_kinds: Mapping[str, TroubleKind] = field(default_factory=dict)


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
    """What a tag occupies in a device's memory: `count` registers or bytes of a table or block, from `start`."""

    space: str
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


def _one_by_interval(device: Device[SettingsT, AddressT]) -> list[Request]:
    """A plan of an unknown protocol: one request for all tags with the same interval."""
    found: dict[float, list[str]] = {}
    for tag in device.tags:
        found.setdefault(tag.interval, []).append(tag.name)
    return [
        Request(f"read {len(names)} tags", tuple(names), len(names), 0, "tags", interval)
        for interval, names in sorted(found.items())
    ]


@dataclass(frozen=True)
class Driver(Generic[SettingsT, AddressT]):
    """A protocol family, as its module's `DRIVER`.

    `settings` has, for each protocol that the module speaks, the model of a device's own keys. `parse_address` parses
    a tag's `address`, with a flag that says whether it will be written too; it raises ValueError that says what would
    be right. `connect` yields a session for as long as its block runs, and raises DeviceError.

    The rest is optional. `requests` is the read plan as far as it is known without the device. `bus` names the line
    that devices share, if its speed is known. `extent` is where an address lies in the device's memory, unless it is a
    bit or the protocol has no memory. `is_number` is false for an address whose values are booleans or strings.
    `address_pattern` and `address_examples` are for editors. For people, `endpoint` says where a device is, without
    secrets, and `type_of` which type of value an address has, if that is known.
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
