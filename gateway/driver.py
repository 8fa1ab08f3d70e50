"""THE SEAM between the gateway and the protocols: Driver, Device, Tag, Read, DeviceError."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from nexus.contract.reading import Quality, Reading, Value


class DeviceError(Exception):
    """The device is lost for now: leave the connection and enter a new one. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One value of a device. `address` is the driver's own Address; `interval` in seconds."""

    name: str
    address: Any
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    interval: float = 1.0
    _divisor: float | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        # 3 * 0.1 is 0.30000000000000004, but 3 / 10 is 0.3: divide where the scale is one over an integer.
        inverse = 1 / self.scale
        if self.scale != 1 and abs(inverse - round(inverse)) < 1e-9 and abs(inverse) > 1:
            object.__setattr__(self, "_divisor", float(round(inverse)))

    def reading(self, raw: Value, time: int) -> Reading:
        """A good reading of `raw`, scaled if it is a number, at `time` (epoch ms)."""
        if (self.scale != 1 or self.offset != 0) and isinstance(raw, int | float) and not isinstance(raw, bool):
            scaled = raw / self._divisor if self._divisor is not None else raw * self.scale
            return Reading(self.name, time, scaled + self.offset)
        return Reading(self.name, time, raw)

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


class Read(Protocol):
    """Reads tags, all from one device, in one scan: a reading for each, in any order.

    A tag that the device refuses has bad quality. Raises DeviceError when the device is lost.
    """

    async def __call__(self, tags: Sequence[Tag], /) -> list[Reading]: ...


class Driver(Protocol):
    """What a module in `gateway/drivers/` holds.

    `Settings` checks a device's own keys; `parse_address` turns a tag's `address` into what the driver wants, raising
    ValueError that says what would be right; `connect` gives a Read for as long as its block runs.
    """

    @property
    def Settings(self) -> type[BaseModel]: ...  # noqa: N802  a class, named as one

    def parse_address(self, text: str, settings: Any, /) -> Any: ...

    def connect(self, device: Device, tags: Sequence[Tag], /) -> AbstractAsyncContextManager[Read]: ...
